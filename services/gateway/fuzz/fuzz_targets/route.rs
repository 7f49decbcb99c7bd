#![no_main]

#[expect(dead_code, reason = "of a table only the paths are read")]
#[path = "../../src/routing/route.rs"]
mod route;

/// Stand-ins for what else is in a table.
mod request {
    pub(crate) mod auth {
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) struct Scheme;

        impl Scheme {
            pub(crate) fn parse(_: &str) -> Option<Self> {
                Some(Self)
            }
        }
    }
}

mod upstream {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Origin;

    impl Origin {
        pub(crate) fn parse_all(_: &str) -> Option<Vec<Self>> {
            Some(vec![Self])
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct CheckPath;

    impl CheckPath {
        pub(crate) fn parse(_: &str) -> Option<Self> {
            Some(Self)
        }
    }
}

use route::{longest, parse, plain};

// Whatever a client may send as its path: it is refused, or it is such that nobody behind the
// gateway can read another resource in it than the one that was routed. The same text as a table
// of routes is read or refused.
libfuzzer_sys::fuzz_target!(|path: &str| {
    let _ = parse(path);
    let Ok(once) = plain(path) else { return };
    assert_eq!(plain(&once).as_deref(), Ok(&*once), "once is enough");
    assert!(once.starts_with('/'));
    assert!(once.len() <= path.len(), "nothing is added");
    let read = unescaped(once.as_bytes());
    assert!(!read.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    let segments: Vec<_> = read.split(|&byte| byte == b'/').skip(1).collect();
    let written = once.split('/').count() - 1;
    assert_eq!(segments.len(), written, "an escape was a slash");
    assert!(!segments.iter().any(|segment| matches!(*segment, b"." | b"..")));
    assert!(segments.iter().rev().skip(1).all(|segment| !segment.is_empty()));
    // A reader that unescapes everything comes to the same upstream.
    let table = ["/stats/live", "/stats", "/"];
    if let Ok(read) = String::from_utf8(read) {
        assert_eq!(longest(&read, table), longest(&once, table));
    }
});

/// What the most eager reader makes of it: every escape is a byte.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| byte == b'%');
        let value = escape.and_then(|digits| {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        });
        read.push(value.unwrap_or(byte));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    read
}
