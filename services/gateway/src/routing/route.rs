//! Parser of the route table, and validation of request paths. Pure.

use std::borrow::Cow;

use super::attributes::Attributes;
use super::redaction::{REDACTED, has_field, redacted};
use crate::request::auth::Scheme;
use crate::upstream::{CheckPath, Origin, server_name};

/// Paths that the gateway serves itself.
const RESERVED: [&str; 2] = ["/healthz", "/readyz"];

/// Maximum number of routes; a table that is maintained by hand has a dozen.
const MAX_ROUTES: usize = 256;

/// A parsed line of the route table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteLine {
    /// Path prefix of whole segments.
    pub(crate) prefix: String,
    /// Upstreams.
    pub(crate) origins: Vec<Origin>,
    /// Path of the health check.
    pub(crate) check: Option<CheckPath>,
    /// Authentication scheme, if the gateway requires authentication.
    pub(crate) auth: Option<Scheme>,
    /// Protocols that a connection may be upgraded to (RFC 9110, section 7.8), in lower case.
    pub(crate) upgrade: Vec<String>,
    /// Per-route attributes.
    pub(crate) attributes: Attributes,
}

/// Parses a route table: one route per line, or several separated by semicolons; `#` begins a
/// comment. The syntax is `PREFIX ORIGIN[,ORIGIN...] [check=PATH] [auth=bearer|basic]
/// [upgrade[=PROTOCOL,...]]`, followed by [`Attributes`]. `upgrade` alone means
/// `upgrade=websocket`.
///
/// # Errors
/// Returns a message for each fault.
pub(crate) fn parse(text: &str) -> Result<Vec<RouteLine>, Vec<String>> {
    let mut routes: Vec<RouteLine> = Vec::new();
    let mut faults = Vec::new();
    let uncommented = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    for line in uncommented {
        // A value may contain an unescaped semicolon.
        let mut may_be_rest = false;
        for line in line.split(';').map(str::trim).filter(|line| !line.is_empty()) {
            let words = redacted(line, may_be_rest);
            may_be_rest |= has_field(line);
            match parse_line(line, &words) {
                Ok(route) if routes.iter().any(|known| known.prefix == route.prefix) => {
                    let line = words.join(" ");
                    faults.push(format!("{line:?} has a prefix that is there already"));
                }
                Ok(route) => routes.push(route),
                Err(more) => {
                    let line = words.join(" ");
                    faults.extend(more.into_iter().map(|fault| format!("{line:?}: {fault}")));
                }
            }
        }
    }
    if routes.len() > MAX_ROUTES {
        faults.push(format!("there are more than {MAX_ROUTES} routes"));
    }
    if faults.is_empty() { Ok(routes) } else { Err(faults) }
}

/// Parses a line. `redacted` are its redacted words for messages.
fn parse_line(line: &str, redacted: &[String]) -> Result<RouteLine, Vec<String>> {
    const ORIGINS: &str =
        "an upstream must be HOST:PORT or https://HOST:PORT, several with commas between them";
    let origins = |word: &str| word.split(',').map(Origin::parse_upstream).collect();
    let mut words = line.split_whitespace();
    let prefix = words.next().unwrap_or_default();
    let mut faults: Vec<String> = prefix_fault(prefix).map(str::to_owned).into_iter().collect();
    let origins = words.next().and_then(origins).unwrap_or_else(|| {
        faults.push(ORIGINS.to_owned());
        Vec::new()
    });
    let mut route = RouteLine {
        prefix: prefix.to_owned(),
        origins,
        check: None,
        auth: None,
        upgrade: Vec::new(),
        attributes: Attributes::default(),
    };
    let mut seen = Vec::new();
    for (word, redacted) in words.zip(redacted.iter().skip(2)) {
        let name = word.split('=').next().unwrap_or_default();
        let may_be_repeated = ["request-header", "response-header", "hide"].contains(&name);
        if !may_be_repeated && seen.contains(&name) {
            let name = redacted.split('=').next().unwrap_or_default();
            faults.push(format!("{name} is given twice"));
        }
        seen.push(name);
        faults.extend(route.take(word, redacted).err());
    }
    faults.extend(route.use_tls().err().map(str::to_owned));
    if faults.is_empty() { Ok(route) } else { Err(faults) }
}

fn prefix_fault(prefix: &str) -> Option<&'static str> {
    let whole = prefix == "/" || (prefix.starts_with('/') && !prefix.ends_with('/'));
    // The prefix appears verbatim in logs, metrics and error responses.
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$()*+,=:@%/".contains(&byte);
    if !whole || plain(prefix).ok().as_deref() != Some(prefix) || !prefix.bytes().all(letters) {
        return Some("a prefix must be a plain path such as / or /api, without a slash at its end");
    }
    let is_reserved = RESERVED.contains(&prefix) || covers("/fleet", prefix);
    is_reserved.then_some("this path is the gateway's own")
}

impl RouteLine {
    /// Whether the gateway connects to the upstreams over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.origins.iter().any(|origin| origin.is_tls)
    }

    /// Determines the host name for TLS, which the upstream's certificate must match.
    fn use_tls(&mut self) -> Result<(), &'static str> {
        if !self.is_tls() {
            return Ok(());
        }
        if !self.origins.iter().all(|origin| origin.is_tls) {
            return Err("its addresses must all begin with https://, or none of them");
        }
        let mut names: Vec<_> = self.origins.iter().map(Origin::authority).collect();
        names.dedup();
        let host = match (&self.attributes.host, &*names) {
            (Some(host), _) => host.clone(),
            (None, [only]) => only.clone(),
            _ => return Err("https:// addresses with different names need host="),
        };
        server_name(&host).ok_or("the host is not a name that a certificate can have")?;
        self.attributes.host = Some(host);
        Ok(())
    }

    /// Parses one word after the upstreams. `redacted` is its redacted form for messages.
    fn take(&mut self, word: &str, redacted: &str) -> Result<(), String> {
        match word.split_once('=').unwrap_or((word, "")) {
            ("check", path) => {
                let path = CheckPath::parse(path).ok_or("check must be a path such as /healthz")?;
                self.check = Some(path);
            }
            ("auth", scheme) => {
                let scheme = Scheme::parse(scheme).ok_or("auth must be bearer or basic")?;
                self.auth = Some(scheme);
            }
            ("upgrade", "") if word == "upgrade" => self.upgrade = vec!["websocket".to_owned()],
            ("upgrade", names) => {
                let fault =
                    "upgrade must name protocols such as websocket, with commas between them";
                self.upgrade = protocols(names).ok_or(fault)?;
            }
            (name, value) if !self.attributes.take(name, value)? => {
                return Err(match redacted {
                    REDACTED => {
                        "a field is followed by what is not an attribute of a route; a space \
                               in a value is written as %20"
                            .to_owned()
                    }
                    _ => format!("{redacted:?} is not an attribute of a route"),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Parses protocol names with optional versions. Protocols that carry requests are rejected.
fn protocols(names: &str) -> Option<Vec<String>> {
    names
        .split(',')
        .map(|name| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
            let name = name.to_ascii_lowercase();
            let is_name = !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed);
            (is_name && !carries_requests(&name)).then_some(name)
        })
        .collect()
}

/// Whether the requests of an upgraded connection would bypass the authentication of other routes:
/// `h2c`, `TLS/1.2`.
pub(crate) fn carries_requests(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default();
    ["h2c", "http", "tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Index of the longest prefix that matches a plain path (see [`plain`]) by whole segments. The
/// prefixes are sorted by descending length.
pub(crate) fn longest<'a>(
    path: &str,
    prefixes: impl IntoIterator<Item = &'a str>,
) -> Option<usize> {
    prefixes.into_iter().position(|prefix| covers(prefix, path))
}

/// Whether a plain path equals this prefix or is below it.
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    prefix == "/" || path.strip_prefix(prefix).is_some_and(below)
}

/// Canonical path (without query): unnecessary percent-encoding is decoded, which RFC 3986, section
/// 6.2.2.2, calls equivalent. A path that an upstream could resolve to another resource than the
/// gateway is rejected, not repaired.
///
/// # Errors
/// Returns the reason why two parsers could resolve the path to different resources.
pub(crate) fn plain(path: &str) -> Result<Cow<'_, str>, &'static str> {
    let plain = unescaped(path)?;
    let Some(segments) = plain.strip_prefix('/') else {
        return Err("it does not begin with a slash");
    };
    if plain.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("it has a control character");
    }
    if plain.contains('\\') {
        return Err("it has a backslash");
    }
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        // Some servers treat the text after a semicolon as a parameter, and the rest as the name.
        match segment.split(';').next().unwrap_or_default() {
            "." | ".." => return Err("it has a dot segment"),
            "" if segment.is_empty() && !last => return Err("it has an empty segment"),
            _ => {}
        }
    }
    Ok(plain)
}

fn unescaped(path: &str) -> Result<Cow<'_, str>, &'static str> {
    let Some(first) = path.find('%') else {
        return Ok(Cow::Borrowed(path));
    };
    let mut plain = path[..first].to_owned();
    // Bytes beyond ASCII must be UTF-8 (RFC 3986, section 2.5): other encodings and overlong
    // sequences can contain slashes and dots that only some parsers see.
    let mut bytes = Vec::new();
    for part in path[first + 1..].split('%') {
        let byte = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or("it has an incomplete percent escape")?;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                plain.push(char::from(byte));
                plain.push_str(&part[2..]);
            }
            b'/' => return Err("it has an escaped slash"),
            b'\\' => return Err("it has a backslash"),
            0..0x20 | 0x7f => return Err("it has a control character"),
            _ => {
                plain.push('%');
                plain.push_str(part);
            }
        }
        bytes.push(byte);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    if std::str::from_utf8(&bytes).is_err() {
        return Err("it has escapes that are not UTF-8");
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let prefixes = ["/stats/live", "/stats", "/"];
        for (path, wanted) in [
            ("/stats", 1),
            ("/stats/", 1),
            ("/stats/a/b", 1),
            ("/stats/live", 0),
            ("/stats/lively", 1),
            ("/", 2),
            ("/statsfoo", 2),
            ("/stats.json", 2),
            ("/a/stats", 2),
            ("/Stats", 2),
            ("/stats%20", 2),
        ] {
            assert_eq!(longest(path, prefixes), Some(wanted), "{path}");
        }
        assert_eq!(longest("/x", ["/stats"]), None);
    }

    #[test]
    fn a_table_is_parsed_line_by_line() {
        let text = "/api api:9000,10.0.0.1:9000 check=/healthz auth=bearer # ours\n\n/ws ws:1 upgrade;/ x:2";
        let routes = parse(text).unwrap();
        assert_eq!(routes.len(), 3);
        assert_eq!((routes[0].prefix.as_str(), routes[0].origins.len()), ("/api", 2));
        assert_eq!((routes[0].auth, routes[0].check.is_some()), (Some(Scheme::Bearer), true));
        assert_eq!(
            (&routes[1].upgrade[..], &routes[0].upgrade[..]),
            (&["websocket".to_owned()][..], &[][..])
        );
        assert_eq!((&*routes[0].prefix, &*routes[2].prefix), ("/api", "/"));
        assert_eq!(parse(" # nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn every_invalid_line_is_reported() {
        let wrong = [
            "api api:9000",
            "/api/ api:9000",
            "/a//b api:9000",
            "/a?b api:9000",
            "/a'b api:9000",
            "/a<b api:9000",
            "/a&b api:9000",
            "/é api:9000",
            "/healthz api:9000",
            "/api",
            "/api api",
            "/api api:9000 check=healthz",
            "/api api:9000 auth=digest",
            "/api api:9000 upgrade=",
            "/api api:9000 upgrade=h2c",
            "/api api:9000 upgrade=websocket,TLS/1.2",
            "/api api:9000 upgrade=a,,b",
            "/api api:9000 fast",
            "/api https://api:9000,api:9001",
            "/api https://a:443,https://b:443",
            "/api https://api:0",
            "/api api:9000 timeout=0",
            "/api api:9000 timeout=3601",
            "/api api:9000 total=1.5",
            "/api api:9000 body=65MiB",
            "/api api:9000 body=-1",
            "/api api:9000 host=",
            "/api api:9000 host=a/b",
            "/api api:9000 host=a:0",
            "/api api:9000 hide=",
            "/api api:9000 hide=Vary",
            "/api api:9000 check=/a check=/b",
            "/api api:9000 timeout=1 timeout=2",
        ];
        for line in wrong {
            let faults = parse(line).unwrap_err();
            assert_eq!(faults.len(), 1, "{line}");
            assert!(faults[0].contains(line), "{faults:?}");
        }
        assert_eq!(parse(&wrong.join("\n")).unwrap_err().len(), wrong.len());
        assert!(parse("/a a:1; /a b:1").unwrap_err()[0].contains("already"));
    }

    #[test]
    fn tls_upstreams_receive_the_host_of_their_certificate() {
        for (line, host) in [
            ("/a https://Api.internal:443", "api.internal"),
            ("/a https://api:8443", "api:8443"),
            ("/a https://a,https://b host=c", "c"),
            ("/a https://10.0.0.1", "10.0.0.1"),
        ] {
            let route = parse(line).unwrap().remove(0);
            assert_eq!((route.is_tls(), route.attributes.host.as_deref()), (true, Some(host)));
        }
        assert!(!parse("/a a:1 host=c").unwrap()[0].is_tls());
    }

    #[test]
    fn every_fault_of_a_line_is_reported_without_field_values() {
        let line = "/a/ api timeout=0 body=x host=a/b request-header=Host:secret more \
                    response-header=Vary:a hide=Age request-header=TE:secret fast=1";
        let faults = parse(line).unwrap_err();
        let expected = [
            "a prefix must",
            "an upstream must",
            "timeout must",
            "body must",
            "host must",
            "Host is set with host=",
            "a field is followed by what is not an attribute of a route; a space in a value is \
             written as %20",
            "vary of a response",
            "age of a response",
            "te of a request",
            "a field is followed by what",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part) && !fault.contains("secret"), "{part}: {fault}");
        }
        assert!(faults[0].contains("request-header=Host:... ..."), "{faults:?}");
        assert!(parse("/a b:1 fast").unwrap_err()[0].contains("\"fast\" is not an attribute"));
    }

    #[test]
    fn no_message_shows_a_possible_field_value() {
        for word in [
            "request-header=secret",
            "request-header=Authorization=secret",
            "request-header=Authorization=secret:x",
            "request-header:Authorization:secret",
            "request-headr=Authorization:secret",
            "request-header=Authorization:Basic secret",
            "request-header=A:a secret=b secret=b",
            "request-header=A:a;secret",
            "fast=secret",
        ] {
            for line in [format!("/a api:9000 {word}"), format!("/a {word}")] {
                let faults = parse(&line).unwrap_err();
                assert!(faults.iter().all(|fault| !fault.contains("secret")), "{faults:?}");
            }
        }
    }

    #[test]
    fn attributes_are_parsed_and_described_without_values() {
        let text = "/a api:9000 timeout=2 total=60 body=1MiB host=API.internal:8443 \
                    request-header=Authorization:Basic%20c2VjcmV0 request-header=X-B: \
                    response-header=X-Frame-Options:DENY hide=Server,X-Powered-By";
        let attributes = parse(text).unwrap().remove(0).attributes;
        assert_eq!(attributes.body_bytes, Some(1 << 20));
        assert_eq!(attributes.host.as_deref(), Some("api.internal:8443"));
        let described: Vec<_> = attributes.describe().collect();
        assert_eq!(
            described.join(", "),
            "at most 2s of silence, at most 60s for a response, at most 1048576 bytes of body, \
             with host api.internal:8443, sets in requests authorization, \
             removes from requests x-b, sets in responses x-frame-options, \
             hides server and x-powered-by"
        );
        assert_eq!(Attributes::default().describe().count(), 0);
    }

    #[test]
    fn an_unnecessary_escape_changes_nothing() {
        assert_eq!(plain("/%73tats").unwrap(), "/stats");
        assert_eq!(plain("/stats%2Fx").unwrap_err(), "it has an escaped slash");
        assert_eq!(plain("/a%7Eb").unwrap(), "/a~b");
    }

    #[test]
    fn a_necessary_escape_is_preserved() {
        for path in ["/a%20b", "/%C3%A9", "/a%25b", "/%3Fx", "/100%25"] {
            assert_eq!(plain(path).unwrap(), path);
        }
    }

    #[test]
    fn an_escaped_percent_sign_is_not_decoded_twice() {
        assert_eq!(plain("/%252e%252e/stats").unwrap(), "/%252e%252e/stats");
    }

    #[test]
    fn ambiguous_paths_are_rejected() {
        // The first one is empty.
        let paths = " * stats //stats /a//b /./stats /stats/../x /stats/.. /. /%2e%2E/stats \
                     /.%2e/stats /foo%2f..%2fstats /foo%2Fbar /a\\b /a%5cb /a%00 /a%0d%0ab /a%7f \
                     /a\u{1} /a% /a%2 /a%zz /a%+1 /%é /stats/..;/x /stats/.;a=b /%2e%2e;/x /%c0%af \
                     /%e0%80%af /%ff /%c3";
        for path in paths.split(' ') {
            assert!(plain(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn dots_inside_a_name_are_allowed() {
        for path in ["/a.b", "/...", "/.well-known/x", "/a..b/", "/", "/a;b=c/d", "/;x"] {
            assert_eq!(plain(path).unwrap(), path);
        }
    }
}
