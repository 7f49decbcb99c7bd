//! The page's files as they are served: each in every encoding that makes it smaller.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use crate::backend::Backend;
use crate::fields;
use crate::negotiation::Encoding;
use crate::page::{BACKEND_META, STATS_LINK};

/// All files.
pub(crate) struct Site {
    index: Asset,
    assets: Vec<Asset>,
    policy: HeaderValue,
}

/// One file.
pub(crate) struct Asset {
    /// Its request path.
    pub(crate) path: String,
    /// The content in each encoding, in the server's order of preference; identity is
    /// always among them.
    pub(crate) representations: Vec<Representation>,
}

/// A file's content in one encoding.
#[derive(Clone)]
pub(crate) struct Representation {
    /// The encoding.
    pub(crate) encoding: Encoding,
    /// The content.
    pub(crate) bytes: Bytes,
    /// The strong entity tag, with quotes.
    pub(crate) etag: HeaderValue,
    /// The header fields that go with them.
    pub(crate) fields: HeaderMap,
    /// Fields of a 304 response.
    pub(crate) not_modified_fields: HeaderMap,
}

/// The hashes of what stands in the page itself, as its policy names them.
pub(crate) struct Inline<'a> {
    /// Of scripts.
    pub(crate) scripts: &'a str,
    /// Of style sheets.
    pub(crate) styles: &'a str,
}

/// The table written by the build script.
mod embedded {
    use crate::negotiation::Encoding::{self, Brotli, Gzip, Identity};

    /// A file.
    pub(super) struct Embedded {
        /// Its name.
        pub(super) name: &'static str,
        /// Encoding, bytes, tag.
        pub(super) representations: &'static [(Encoding, &'static [u8], &'static str)],
    }

    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

impl Site {
    /// The files embedded in the binary, for a page that uses `backend`.
    pub(crate) fn embedded(backend: &Backend) -> Self {
        let assets = embedded::ASSETS.iter().map(Asset::embedded).collect();
        let inline = Inline { scripts: embedded::SCRIPT_HASHES, styles: embedded::STYLE_HASHES };
        Self::new(Asset::embedded(&embedded::INDEX), assets, &inline, backend)
    }

    /// A page with its files, for `backend`.
    pub(crate) fn new(
        index: Asset,
        mut assets: Vec<Asset>,
        inline: &Inline,
        backend: &Backend,
    ) -> Self {
        let mut index = if backend.is_same_origin() { index } else { index.for_backend(backend) };
        let policy = policy(inline, backend);
        for asset in assets.iter_mut().chain([&mut index]) {
            asset.prepare_fields(&policy);
        }
        Self { index, assets, policy }
    }

    /// The file of `path`.
    pub(crate) fn find(&self, path: &str) -> Option<&Asset> {
        if matches!(path, "/" | "/index.html") {
            return Some(&self.index);
        }
        self.assets.iter().find(|asset| asset.path == path)
    }

    /// The `Content-Security-Policy` of the page.
    pub(crate) fn policy(&self) -> &HeaderValue {
        &self.policy
    }
}

impl Asset {
    fn embedded(file: &embedded::Embedded) -> Self {
        let representations = file.representations.iter().map(|&(encoding, bytes, etag)| {
            Representation::new(encoding, Bytes::from_static(bytes), HeaderValue::from_static(etag))
        });
        Self::new(file.name, representations.collect())
    }

    /// A file without compression.
    pub(crate) fn plain(name: &str, bytes: Bytes, etag: &str) -> Self {
        let etag = HeaderValue::from_str(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self::new(name, vec![Representation::new(Encoding::Identity, bytes, etag)])
    }

    fn new(name: &str, representations: Vec<Representation>) -> Self {
        Self { path: format!("/{name}"), representations }
    }

    fn prepare_fields(&mut self, policy: &HeaderValue) {
        let name = self.path.trim_start_matches('/');
        for representation in &mut self.representations {
            representation.fields =
                fields::of_file(name, representation.encoding, &representation.etag, policy);
            representation.not_modified_fields = fields::not_modified(name, &representation.etag);
        }
    }

    /// The page with the backend's address filled in. It is not compressed: a compressor would be
    /// more code than the few kilobytes are worth.
    fn for_backend(&self, backend: &Backend) -> Self {
        let Some(representation) = self
            .representations
            .iter()
            .find(|representation| representation.encoding == Encoding::Identity)
        else {
            return Self::plain("index.html", Bytes::new(), "\"\"");
        };
        let url = escaped(backend.url());
        let html = String::from_utf8_lossy(&representation.bytes)
            .replace(BACKEND_META, &BACKEND_META.replace("\"\"", &format!("\"{url}\"")))
            .replace(STATS_LINK, &format!("href=\"{url}/stats\""));
        // The tag of the page as it was built, and one of what was filled in.
        let etag = representation.etag.to_str().unwrap_or_default().trim_matches('"');
        let etag = format!("\"{etag}-{:016x}\"", hash_of(backend.url()));
        Self::plain("index.html", html.into(), &etag)
    }
}

impl Representation {
    /// A representation whose fields are not known yet: they depend on the whole page.
    pub(crate) fn new(encoding: Encoding, bytes: Bytes, etag: HeaderValue) -> Self {
        let (fields, not_modified_fields) = Default::default();
        Self { encoding, bytes, etag, fields, not_modified_fields }
    }
}

/// Equal for equal bytes in every run of this binary. Collision resistance is not required.
pub(crate) fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn policy(inline: &Inline, backend: &Backend) -> HeaderValue {
    // The page's own origin is where its program is fetched from.
    let connect = ["'self' ", backend.origin()].concat();
    let scripts = ["'self' 'wasm-unsafe-eval' ", inline.scripts].concat();
    let styles = ["'self' ", inline.styles].concat();
    let text = format!(
        "default-src 'none'; script-src {}; connect-src {}; style-src {}; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        scripts.trim_end(),
        connect.trim_end(),
        styles.trim_end()
    );
    // Hashes and origins are plain ASCII; were one not, nothing would be allowed.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

/// Text as the value of an attribute in double quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(backend: &Backend) -> Site {
        let html = format!("<head>{BACKEND_META}</head><a {STATS_LINK}>figures</a>");
        let index = Asset::plain("index.html", html.into(), "\"built\"");
        Site::new(index, Vec::new(), &Inline { scripts: "'sha256-x'", styles: "" }, backend)
    }

    fn index_of(site: &Site) -> (&Representation, &str) {
        let representation = &site.find("/").unwrap().representations[0];
        (representation, std::str::from_utf8(&representation.bytes).unwrap())
    }

    #[test]
    fn the_backend_goes_into_the_page_as_data() {
        let backend = Backend::parse("https://stats.example.org/a&b").unwrap();
        let site = site(&backend);
        let (_, html) = index_of(&site);
        assert_eq!(
            html,
            "<head><meta name=\"backend-service-url\" \
             content=\"https://stats.example.org/a&amp;b\"></head>\
             <a href=\"https://stats.example.org/a&amp;b/stats\">figures</a>"
        );
    }

    #[test]
    fn the_tag_follows_the_backend() {
        let own = site(&Backend::default());
        let one = site(&Backend::parse("http://one").unwrap());
        let two = site(&Backend::parse("http://two").unwrap());
        assert_eq!(index_of(&own).0.etag, "\"built\"");
        assert_ne!(index_of(&one).0.etag, index_of(&two).0.etag);
        assert_eq!(
            index_of(&one).0.etag,
            index_of(&site(&Backend::parse("http://one/").unwrap())).0.etag
        );
    }

    #[test]
    fn the_policy_names_exactly_the_configured_backend() {
        let policy = |backend| site(&backend).policy().to_str().unwrap().to_owned();
        assert!(policy(Backend::default()).contains("connect-src 'self';"));
        assert!(
            policy(Backend::parse("http://stats:8080/x").unwrap())
                .contains("connect-src 'self' http://stats:8080;")
        );
    }
}
