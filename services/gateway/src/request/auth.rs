//! Authentication of a route by a bearer token (RFC 6750) or by user name and password (RFC 7617).
//! The credentials are meant for the gateway only: the `Authorization` field of a protected route
//! is not forwarded (`forwarded.rs` drops it).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use subtle::{Choice, ConstantTimeEq};

use super::Faults;
use crate::fields::Fields;

/// Maximum size of the credentials in the field in bytes: base64 of user name and password, or a
/// token. Longer ones are rejected without a comparison.
const LONGEST: usize = 512;

/// `LONGEST` in words, plus one for the length.
const WORDS: usize = LONGEST / 8 + 1;

/// Minimum characters of a token: 16 random characters of the base64 alphabet have 96 bits, which
/// prevents guessing.
const SHORTEST_TOKEN: usize = 16;

/// Minimum characters of a password (NIST SP 800-63B); the rate limit slows guessing.
const SHORTEST_PASSWORD: usize = 8;

/// Authentication scheme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    /// Bearer token, for programs.
    Bearer,
    /// Basic authentication, for browsers.
    Basic,
}

impl Scheme {
    /// Parses `bearer` or `basic`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Bearer, Self::Basic].into_iter().find(|scheme| scheme.is(text))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        }
    }

    fn is(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name())
    }

    /// Value of `WWW-Authenticate` in a 401.
    fn challenge(self, presented: bool) -> HeaderValue {
        HeaderValue::from_static(match (self, presented) {
            (Self::Bearer, false) => "Bearer realm=\"gateway\"",
            (Self::Bearer, true) => "Bearer realm=\"gateway\", error=\"invalid_token\"",
            (Self::Basic, _) => "Basic realm=\"gateway\", charset=\"UTF-8\"",
        })
    }
}

/// Authentication of a route.
#[derive(Clone)]
pub(crate) struct Auth {
    scheme: Scheme,
    secrets: Vec<Secret>,
}

/// Expected credentials, padded, so that a comparison takes the same time for any input.
#[derive(Clone)]
struct Secret([u64; WORDS]);

impl Auth {
    /// Parses credentials from the text of a setting or a file: one token or `name:password` per
    /// line; all of them are valid. This allows rotation: the old and the new secret are valid at
    /// the same time. Blank lines and surrounding white space are ignored.
    ///
    /// # Errors
    /// Returns each invalid line by its number; messages never contain its text.
    pub(crate) fn parse(scheme: Scheme, text: &str) -> Result<Self, Faults> {
        let (mut secrets, mut faults) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let read = match scheme {
                Scheme::Bearer => token(line),
                Scheme::Basic => password(line),
            };
            match read {
                Ok(secret) => secrets.push(secret),
                Err(why) => faults.push(format!("line {} {why}", index + 1)),
            }
        }
        if secrets.is_empty() && faults.is_empty() {
            faults.push("there is no secret in it".to_owned());
        }
        if faults.is_empty() { Ok(Self { scheme, secrets }) } else { Err(Faults(faults)) }
    }

    /// Authenticates a request.
    ///
    /// # Errors
    /// Returns the value of `WWW-Authenticate` for the 401.
    pub(crate) fn check(&self, headers: &Fields) -> Result<(), HeaderValue> {
        let mut values = headers.get_all(AUTHORIZATION);
        let Some(value) = values.next() else { return Err(self.scheme.challenge(false)) };
        // The gateway and an upstream could each use another one of several fields.
        let presented = if values.next().is_none() { self.presented(value) } else { None };
        let right = presented.is_some_and(|presented| self.matches_any(&presented));
        if right { Ok(()) } else { Err(self.scheme.challenge(true)) }
    }

    /// The credentials after the scheme.
    fn presented(&self, value: &HeaderValue) -> Option<Secret> {
        let (name, secret) = value.to_str().ok()?.split_once(' ')?;
        if self.scheme.is(name) { Secret::new(secret.trim().as_bytes()) } else { None }
    }

    /// Compares all secrets completely, so that the time reveals neither which one matches nor how
    /// much of it.
    fn matches_any(&self, presented: &Secret) -> bool {
        let none = Choice::from(0);
        self.secrets.iter().fold(none, |any, secret| any | secret.0.ct_eq(&presented.0)).into()
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "auth={} (secrets: {})", self.scheme.name(), self.secrets.len())
    }
}

/// Without the secrets.
impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Secret {
    /// `None` if the text is too long for credentials.
    fn new(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut words = [0; WORDS];
        let chunks = text.chunks(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(chunk).for_each(|(byte, &given)| *byte = given);
            u64::from_le_bytes(bytes)
        });
        // With padding alone, a secret and the same secret with a trailing zero byte would be
        // equal.
        let length = std::iter::once(text.len() as u64);
        words.iter_mut().zip(length.chain(chunks)).for_each(|(word, given)| *word = given);
        Some(Self(words))
    }
}

/// Whether a field has credentials or a challenge of a scheme that authenticates the connection, not
/// the request: NTLM, and Kerberos at some servers.
pub(crate) fn binds_connection(fields: &Fields, name: HeaderName) -> bool {
    fields.members(name).any(|member| {
        let scheme = member.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        [&b"ntlm"[..], b"negotiate"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// Parses a token (RFC 6750, section 2.1).
fn token(line: &str) -> Result<Secret, String> {
    let stem = line.trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if stem.is_empty() || !stem.bytes().all(plain) {
        return Err(
            "is not a token (letters, digits and - . _ ~ + /, with = at the end)".to_owned()
        );
    }
    if line.len() < SHORTEST_TOKEN {
        return Err(format!("has fewer than {SHORTEST_TOKEN} characters, which can be guessed"));
    }
    Secret::new(line.as_bytes()).ok_or_else(|| format!("has more than {LONGEST} characters"))
}

/// Parses user name and password into the encoded form that a client sends.
fn password(line: &str) -> Result<Secret, String> {
    let Some((name, password)) = line.split_once(':') else {
        return Err("is not a name, a colon and a password".to_owned());
    };
    if name.is_empty() || line.chars().any(char::is_control) {
        return Err("has no name before the colon, or a control character".to_owned());
    }
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err(format!("has a password of fewer than {SHORTEST_PASSWORD} characters"));
    }
    let most = LONGEST / 4 * 3;
    Secret::new(STANDARD.encode(line).as_bytes())
        .ok_or_else(|| format!("has more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = "an-old-token-0123456789";
    const NEW: &str = "a.new~token/0123456789+==";

    fn bearer() -> Auth {
        Auth::parse(Scheme::Bearer, &format!("{OLD}\n\n  {NEW}\r\n")).unwrap()
    }

    /// "Aladdin:open sesame", the example in RFC 7617.
    fn basic() -> Auth {
        Auth::parse(Scheme::Basic, "Aladdin:open sesame\n").unwrap()
    }

    /// The challenge, if authentication fails.
    fn refused(auth: &Auth, presented: &[&str]) -> Option<String> {
        let headers = Fields::of_values("authorization", presented);
        auth.check(&headers).err().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_old_and_the_new_token_are_valid_during_rotation() {
        for value in [format!("Bearer {OLD}"), format!("bearer {NEW}"), format!("BEARER   {OLD}")] {
            assert_eq!(refused(&bearer(), &[&value]), None, "{value}");
        }
    }

    #[test]
    fn basic_credentials_are_accepted_as_a_browser_sends_them() {
        assert_eq!(refused(&basic(), &["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), None);
        let colons = Auth::parse(Scheme::Basic, "a:b:c:defgh").unwrap();
        assert_eq!(refused(&colons, &["basic YTpiOmM6ZGVmZ2g="]), None);
    }

    #[test]
    fn all_other_requests_get_a_challenge() {
        let wrong = Some("Bearer realm=\"gateway\", error=\"invalid_token\"".to_owned());
        let longest = format!("Bearer {}", "x".repeat(LONGEST));
        let too_long = format!("Bearer {OLD}{}", "x".repeat(LONGEST));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            OLD,
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            &format!("Basic {OLD}"),
            "Bearer é",
            &format!("Bearer {}", &OLD[1..]),
            &format!("Bearer {OLD}x"),
            &format!("Bearer\t{OLD}"),
            &format!("Bearer {OLD} {OLD}"),
            &format!("Bearer {OLD},{NEW}"),
            &longest,
            &too_long,
            &format!("Bearer {}", OLD.to_uppercase()),
            &format!("Bearer \"{OLD}\""),
        ] {
            assert_eq!(refused(&bearer(), &[value]), wrong, "{value}");
        }
        let twice = format!("Bearer {OLD}");
        assert_eq!(refused(&bearer(), &[&twice, &twice]), wrong);
        assert_eq!(refused(&bearer(), &[]).unwrap(), "Bearer realm=\"gateway\"");
        let basic_challenge = Some("Basic realm=\"gateway\", charset=\"UTF-8\"".to_owned());
        for presented in [&[][..], &["Basic QWxhZGRpbjpvcGVuIHNlc2FtZR=="], &["Basic Aladdin"]] {
            assert_eq!(refused(&basic(), presented), basic_challenge);
        }
    }

    #[test]
    fn invalid_lines_are_reported_by_number_without_their_text() {
        let faults =
            Auth::parse(Scheme::Bearer, "short\nwith space 0123456789\n\né\n").unwrap_err();
        assert_eq!(faults.0.len(), 3);
        let told = faults.to_string();
        assert!(told.starts_with("line 1 has fewer than 16 characters"), "{told}");
        assert!(told.contains("line 2 ") && told.contains("line 4 "), "{told}");
        assert!(!told.contains("short") && !told.contains("space"), "{told}");
        for text in ["", "\n \n"] {
            assert!(Auth::parse(Scheme::Basic, text).is_err());
        }
        for text in ["Aladdin", ":open sesame", "Aladdin:short", "a\tb:open sesame", "::::::::"] {
            assert!(Auth::parse(Scheme::Basic, text).is_err(), "{text}");
        }
        let long = |count| Auth::parse(Scheme::Basic, &format!("a:{}", "b".repeat(count)));
        assert!(long(LONGEST / 4 * 3 - 2).is_ok());
        assert!(long(LONGEST / 4 * 3 - 1).is_err());
        assert!(Auth::parse(Scheme::Bearer, &"b".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn debug_output_does_not_reveal_secrets() {
        assert_eq!(format!("{:?}", bearer()), "auth=bearer (secrets: 2)");
        assert_eq!(basic().to_string(), "auth=basic (secrets: 1)");
    }

    #[test]
    fn a_scheme_is_bearer_or_basic() {
        assert_eq!(Scheme::parse("Basic"), Some(Scheme::Basic));
        assert_eq!(Scheme::parse("bearer"), Some(Scheme::Bearer));
        assert_eq!(Scheme::parse("digest"), None);
    }

    proptest! {
        #[test]
        fn a_secret_is_equal_only_to_itself(
            one in proptest::collection::vec(any::<u8>(), 0..40),
            other in proptest::collection::vec(any::<u8>(), 0..40),
            zeros in 1..9_usize,
        ) {
            let secret = |bytes: &[u8]| Secret::new(bytes).unwrap().0;
            prop_assert_eq!(secret(&one) == secret(&other), one == other);
            let padded = [&one[..], &vec![0; zeros][..]].concat();
            prop_assert_ne!(secret(&one), secret(&padded));
        }

        #[test]
        fn no_text_causes_a_panic(text in "\\PC{0,80}", value in "\\PC{0,80}") {
            let _ = Auth::parse(Scheme::Bearer, &text);
            let _ = Auth::parse(Scheme::Basic, &text);
            prop_assert!(refused(&bearer(), &[&value]).is_some());
        }

        #[test]
        fn parsed_credentials_are_accepted(name in "[a-zé]{1,20}", password in "[!-~é]{8,40}") {
            let auth = Auth::parse(Scheme::Basic, &format!("{name}:{password}")).unwrap();
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            prop_assert_eq!(refused(&auth, &[&value]), None);
        }
    }
}
