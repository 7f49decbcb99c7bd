//! `OpenAPI` description of the API.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::snapshot::Encoded;

/// `openapi.yaml` as compact JSON, created by `build.rs`.
const JSON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The description, with its encodings.
pub(crate) fn document() -> &'static Encoded {
    static DOCUMENT: LazyLock<Encoded> = LazyLock::new(|| Bytes::from_static(JSON).into());
    &DOCUMENT
}

#[cfg(test)]
mod tests;
