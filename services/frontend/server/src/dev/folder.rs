//! The output folder of Trunk, which may be incomplete at any moment.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{SCRIPT, SCRIPT_PATH};
use crate::backend::Backend;
use crate::page;
use crate::site::{Asset, Inline, Site, hash_of};

/// The placeholder page until the first build.
const BUILDING: &str = include_str!("building.html");

/// A folder with a page in it, now or later.
pub(crate) struct Folder {
    /// Its path.
    pub(crate) folder: PathBuf,
    /// The address of the stats service for the page.
    pub(crate) backend: Backend,
}

impl Folder {
    /// Which build the folder holds, or `None` while it does not hold a whole one.
    pub(crate) fn build(&self) -> Option<u64> {
        self.index().map(|(_, build)| build)
    }

    /// The page and the file of `path`.
    pub(crate) fn site(&self, path: &str) -> Site {
        let (page, build) = self.index().unwrap_or_else(|| (BUILDING.to_owned(), 0));
        let html = with_reload(&page, build);
        let scripts = hashes(page::inline_scripts(&html));
        let styles = hashes(page::inline_styles(&html));
        let index = Asset::plain("index.html", html.into(), &format!("\"{build:016x}\""));
        let assets = self.file(path).into_iter().collect();
        let inline = Inline { scripts: &scripts, styles: &styles };
        Site::new(index, assets, &inline, &self.backend)
    }

    /// The page as it was built, if all the files are there that it names, and its build. Some names
    /// carry no hash of the content; `mirror` in `build.py` writes the page again when any file differs.
    fn index(&self) -> Option<(String, u64)> {
        let path = self.folder.join("index.html");
        let written = fs::metadata(&path).and_then(|file| file.modified()).ok()?;
        let html = fs::read_to_string(path).ok()?;
        let is_complete = html.contains("</html>")
            && page::files(&html).into_iter().all(|name| is_filled(&self.folder.join(name)));
        let build = hash_of((&html, written));
        is_complete.then_some((html, build))
    }

    fn file(&self, path: &str) -> Option<Asset> {
        let name = path.strip_prefix('/')?;
        if path == SCRIPT_PATH {
            return Some(Asset::plain(name, SCRIPT.into(), "\"reload\""));
        }
        // Trunk writes plain files beside the page. One name without a slash and without a dot
        // before it cannot lead out of the folder.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.starts_with('.') || !name.bytes().all(is_plain) {
            return None;
        }
        let bytes = Bytes::from(fs::read(self.folder.join(name)).ok()?);
        let etag = format!("\"{:016x}\"", hash_of(&bytes));
        Some(Asset::plain(name, bytes, &etag))
    }
}

/// The page with the script that waits for the next build; the script contains the current one.
fn with_reload(html: &str, build: u64) -> String {
    let script =
        format!(r#"<script src="{SCRIPT_PATH}" data-build="{build:016x}"></script></head>"#);
    html.replacen("</head>", &script, 1)
}

fn hashes(texts: Vec<&str>) -> String {
    let hash = |text| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    texts.into_iter().map(hash).collect::<Vec<_>>().join(" ")
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HTML: &str =
        r#"<html><head></head><script src="/app-0123456789abcdef.js"></script></html>"#;

    /// An empty folder of the test's own, gone when it is dropped.
    struct Scratch(Folder);

    impl Scratch {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("frontend-dev-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(Folder { folder, backend: Backend::default() })
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.0.folder.join(name), content).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.folder);
        }
    }

    fn text_of(site: &Site, path: &str) -> Option<String> {
        let asset = site.find(path)?;
        Some(String::from_utf8(asset.representations[0].bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_page_counts_when_all_its_files_are_there() {
        let scratch = Scratch::new();
        assert_eq!(scratch.0.build(), None);
        scratch.write("index.html", HTML);
        assert_eq!(scratch.0.build(), None, "the script is missing");
        scratch.write("app-0123456789abcdef.js", "");
        assert_eq!(scratch.0.build(), None, "the script is not written yet");
        scratch.write("app-0123456789abcdef.js", "1");
        let first = scratch.0.build();
        assert!(first.is_some());
        scratch.write("index.html", &HTML.replace("<html>", "<html lang=en>"));
        assert_ne!(scratch.0.build(), first);
    }

    #[test]
    fn a_page_that_was_written_again_is_another_build() {
        let scratch = Scratch::new();
        scratch.write("index.html", "<html></html>");
        let first = scratch.0.build();
        let index = fs::File::options().write(true).open(scratch.0.folder.join("index.html"));
        index.unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(scratch.0.build(), first);
    }

    #[test]
    fn until_there_is_a_page_another_waits_for_it() {
        let scratch = Scratch::new();
        let html = text_of(&scratch.0.site("/"), "/").unwrap();
        assert!(html.contains("being built") && html.contains(SCRIPT_PATH), "{html}");
    }

    #[test]
    fn the_page_contains_its_build() {
        let scratch = Scratch::new();
        scratch.write("index.html", HTML);
        scratch.write("app-0123456789abcdef.js", "1");
        let html = text_of(&scratch.0.site("/"), "/").unwrap();
        let build = scratch.0.build().unwrap();
        assert!(html.contains(&format!("data-build=\"{build:016x}\"></script></head>")), "{html}");
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let scratch = Scratch::new();
        scratch.write("styles.css", "a{}");
        scratch.write(".hidden", "x");
        let found = |path| text_of(&scratch.0.site(path), path);
        assert_eq!(found("/styles.css").as_deref(), Some("a{}"));
        assert!(found(SCRIPT_PATH).is_some());
        for path in ["/../styles.css", "/..", "/.hidden", "//etc/passwd", "/%2e%2e/x", "/a/../b"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
