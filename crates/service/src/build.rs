//! Version, commit and date of a program, set by the build.

use std::fmt;

/// The version, commit and date of a program. [`crate::build!`] creates it.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version in the manifest.
    pub version: &'static str,
    /// `COMMIT DATE`; `None` if the build did not set it, as in development builds.
    made_from: Option<&'static str>,
}

/// The [`Build`] of the calling crate. `tools/build/build.py` sets `BUILT_FROM` for a release, and
/// Cargo recompiles only that crate when it changes.
#[macro_export]
macro_rules! build {
    () => {
        $crate::Build::new(env!("CARGO_PKG_VERSION"), option_env!("BUILT_FROM"))
    };
}

const UNKNOWN: &str = "unknown";

impl Build {
    /// Used by [`crate::build!`]. `made_from` is a commit, a space, and the date of the commit.
    pub const fn new(version: &'static str, made_from: Option<&'static str>) -> Self {
        Self { version, made_from }
    }

    /// The commit, 40 hexadecimal digits, followed by `-dirty` if files have changed since then.
    pub fn commit(&self) -> &'static str {
        self.parts().map_or(UNKNOWN, |(commit, _)| commit)
    }

    /// The date of the commit (RFC 3339, UTC). The time of the build would make builds
    /// irreproducible.
    pub fn date(&self) -> &'static str {
        self.parts().map_or(UNKNOWN, |(_, date)| date)
    }

    /// The body of `GET /healthz`: one JSON object.
    pub fn health(&self) -> String {
        // The values need no escaping: they contain only digits, letters, dots, colons and dashes.
        format!(
            "{{\"status\":\"ok\",\"version\":\"{}\",\"commit\":\"{}\",\"built\":\"{}\"}}\n",
            self.version,
            self.commit(),
            self.date()
        )
    }

    fn parts(&self) -> Option<(&'static str, &'static str)> {
        self.made_from?.split_once(' ')
    }
}

/// Like `rustc --version`: `0.1.0 (COMMIT DATE)`.
impl fmt::Display for Build {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.made_from {
            Some(made_from) => write!(formatter, "{} ({made_from})", self.version),
            None => formatter.write_str(self.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_reports_its_commit_and_date() {
        let build = Build::new("1.2.3", Some("abc-dirty 2026-11-25T00:00:00Z"));
        assert_eq!(build.to_string(), "1.2.3 (abc-dirty 2026-11-25T00:00:00Z)");
        assert_eq!(
            build.health(),
            "{\"status\":\"ok\",\"version\":\"1.2.3\",\"commit\":\"abc-dirty\",\
             \"built\":\"2026-11-25T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn values_that_the_build_did_not_set_are_unknown() {
        let build = Build::new("1.2.3", None);
        assert_eq!(build.to_string(), "1.2.3");
        assert_eq!((build.commit(), build.date()), ("unknown", "unknown"));
    }
}
