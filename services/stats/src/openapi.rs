//! The description of the interface, for programs and people.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::snapshot::Encoded;

/// `openapi.yaml` as compact JSON; made by `build.rs`.
const JSON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The description, in the forms in which it is handed out.
pub(crate) fn document() -> &'static Encoded {
    static DOCUMENT: LazyLock<Encoded> = LazyLock::new(|| Bytes::from_static(JSON).into());
    &DOCUMENT
}

#[cfg(test)]
mod tests;
