//! Parsers for a page's files, shared by the build script, the `dev` feature and the server.

/// The element that carries the backend's address, as `index.html` has it.
pub(crate) const BACKEND_META: &str = r#"<meta name="backend-service-url" content="">"#;

/// A link to the figures that works without the program, as `index.html` has it.
pub(crate) const STATS_LINK: &str = r#"href="/stats""#;

/// The media type of a file by its name.
pub(crate) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether Trunk put a hash of the content into the name (`app-0123456789abcdef_bg.wasm`): what
/// such a name means never changes.
pub(crate) fn is_hashed(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.split(['-', '_', '.'])
        .skip(1)
        .any(|part| part.len() >= 15 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The texts of the scripts that stand in the page itself; the page's policy names their hashes.
pub(crate) fn inline_scripts(html: &str) -> Vec<&str> {
    texts_of(html, "<script", "</script>", |attributes| !attributes.contains("src="))
}

/// The texts of the style sheets that stand in the page itself, for the same reason.
pub(crate) fn inline_styles(html: &str) -> Vec<&str> {
    texts_of(html, "<style", "</style>", |_| true)
}

fn texts_of<'a>(
    html: &'a str,
    begin: &str,
    end: &str,
    is_included: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    html.split(begin)
        .skip(1)
        .filter_map(|rest| {
            let (attributes, rest) = rest.split_once('>')?;
            let (text, _) = rest.split_once(end)?;
            is_included(attributes).then_some(text)
        })
        .collect()
}

/// The files of its own folder that a page names: `/styles-0123456789abcdef.css` and so on, by
/// attribute or in Trunk's loader.
pub(crate) fn files(html: &str) -> Vec<&str> {
    let mut files: Vec<_> = html
        .split(['"', '\''])
        .filter_map(|text| text.strip_prefix('/'))
        .filter(|name| is_hashed(name))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: &str = r#"<link rel="icon" href="/favicon-30a2bd0c56a5bd3e.svg"><link
        rel="preload" href="/app-e1f8c5e2b02bce24_bg.wasm"><a href="/stats">s</a>
        <script type="module">
import init from '/app-e1f8c5e2b02bce24.js';
await init('/app-e1f8c5e2b02bce24_bg.wasm');
</script><script src="/dev/reload.js"></script>"#;

    #[test]
    fn names_with_a_hash_are_recognized() {
        assert!(is_hashed("app-e1f8c5e2b02bce24.js"));
        assert!(is_hashed("app-e1f8c5e2b02bce24_bg.wasm"));
        assert!(!is_hashed("index.html"));
        assert!(!is_hashed("e1f8c5e2b02bce24.js"));
        assert!(!is_hashed("app-extraordinarily_bg.wasm"));
    }

    #[test]
    fn only_scripts_in_the_page_itself_are_inline() {
        let scripts = inline_scripts(HTML);
        assert_eq!(scripts.len(), 1);
        assert!(scripts[0].starts_with("\nimport") && scripts[0].ends_with(";\n"));
    }

    #[test]
    fn style_sheets_in_the_page_itself_are_found() {
        assert_eq!(
            inline_styles("<style media=print>a{}</style><p><style>b{}</style>"),
            ["a{}", "b{}"]
        );
        assert!(inline_styles(HTML).is_empty());
    }

    #[test]
    fn the_files_of_a_page_are_named_once_each() {
        assert_eq!(
            files(HTML),
            [
                "app-e1f8c5e2b02bce24.js",
                "app-e1f8c5e2b02bce24_bg.wasm",
                "favicon-30a2bd0c56a5bd3e.svg"
            ]
        );
    }
}
