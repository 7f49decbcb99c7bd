//! Authentication of a route: a bearer token (RFC 6750) or a name and a password (RFC 7617) for
//! a route. The secret is for the gateway alone: the `Authorization` field of a guarded route is
//! not forwarded (`forwarded.rs` drops it).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use subtle::{Choice, ConstantTimeEq};

use super::Faults;
use crate::fields::Fields;

/// Bytes of a secret as it comes in the field: base64 of a name and a password, or a token. Longer
/// ones are wrong before they are looked at.
const LONGEST: usize = 512;

/// The same in words, and one for the length.
const WORDS: usize = LONGEST / 8 + 1;

/// Characters that a token must have: 16 random ones of the base64 alphabet are 96 bits, which
/// cannot be found by guessing.
const SHORTEST_TOKEN: usize = 16;

/// Characters that a password must have (NIST SP 800-63B); the rate of requests bounds guessing.
const SHORTEST_PASSWORD: usize = 8;

/// How the secret is presented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    /// For programs.
    Bearer,
    /// For people with browsers.
    Basic,
}

impl Scheme {
    /// Reads `bearer` or `basic`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Bearer, Self::Basic].into_iter().find(|scheme| scheme.is(text))
    }

    fn is(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        })
    }

    /// The value of `WWW-Authenticate` with a 401.
    fn challenge(self, presented: bool) -> HeaderValue {
        HeaderValue::from_static(match (self, presented) {
            (Self::Bearer, false) => "Bearer realm=\"gateway\"",
            (Self::Bearer, true) => "Bearer realm=\"gateway\", error=\"invalid_token\"",
            (Self::Basic, _) => "Basic realm=\"gateway\", charset=\"UTF-8\"",
        })
    }
}

/// What guards a route.
#[derive(Clone)]
pub(crate) struct Auth {
    scheme: Scheme,
    secrets: Vec<Secret>,
}

/// What a client has to present, padded, so that comparing takes the same time whatever it is.
#[derive(Clone)]
struct Secret([u64; WORDS]);

impl Auth {
    /// Reads secrets from the text of a setting or a file: a token or `name:password` on each line,
    /// any of which opens. So a secret is changed without a moment in which neither the old nor the
    /// new one is right. Blank lines do not count, nor does white space around a secret.
    ///
    /// # Errors
    /// Every line that is no secret, by its number: its content is never printed.
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

    /// Whether the request may pass.
    ///
    /// # Errors
    /// With the value of `WWW-Authenticate` for the 401.
    pub(crate) fn check(&self, headers: &Fields) -> Result<(), HeaderValue> {
        let mut values = headers.get_all(AUTHORIZATION);
        let Some(value) = values.next() else { return Err(self.scheme.challenge(false)) };
        // Two fields could be read as one secret here and as another behind.
        let presented = if values.next().is_none() { self.presented(value) } else { None };
        let right = presented.is_some_and(|presented| self.opens_with(&presented));
        if right { Ok(()) } else { Err(self.scheme.challenge(true)) }
    }

    /// What comes behind the scheme's name.
    fn presented(&self, value: &HeaderValue) -> Option<Secret> {
        let (name, secret) = value.to_str().ok()?.split_once(' ')?;
        if self.scheme.is(name) { Secret::new(secret.trim().as_bytes()) } else { None }
    }

    /// Every secret is compared to its end, so the time reveals neither which one nor how much of
    /// it was right.
    fn opens_with(&self, presented: &Secret) -> bool {
        let none = Choice::from(0);
        self.secrets.iter().fold(none, |any, secret| any | secret.0.ct_eq(&presented.0)).into()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.secrets.len();
        formatter
            .debug_struct("Guard")
            .field("scheme", &self.scheme)
            .field("secrets", &count)
            .finish()
    }
}

impl Secret {
    /// `None` if it is too long to be one.
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
        // Padding alone would make one of a secret and the same secret with a zero byte.
        let length = std::iter::once(text.len() as u64);
        words.iter_mut().zip(length.chain(chunks)).for_each(|(word, given)| *word = given);
        Some(Self(words))
    }
}

/// A token: what RFC 6750, section 2.1, lets into the field.
fn token(line: &str) -> Result<Secret, String> {
    let stem = line.trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if stem.is_empty() || !stem.bytes().all(plain) {
        return Err(
            "is no token: letters, digits and - . _ ~ + / are, with = at the end".to_owned()
        );
    }
    if line.len() < SHORTEST_TOKEN {
        return Err(format!("has fewer than {SHORTEST_TOKEN} characters, which can be guessed"));
    }
    Secret::new(line.as_bytes()).ok_or_else(|| format!("has more than {LONGEST} characters"))
}

/// A name and a password, as a client presents them.
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

    /// "Aladdin:open sesame", RFC 7617's own example.
    fn basic() -> Auth {
        Auth::parse(Scheme::Basic, "Aladdin:open sesame\n").unwrap()
    }

    /// The challenge, if it does not open.
    fn refused(auth: &Auth, presented: &[&str]) -> Option<String> {
        let mut headers = Fields::new();
        for value in presented {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        auth.check(&headers).err().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_old_and_the_new_token_open_while_one_is_being_changed() {
        for value in [format!("Bearer {OLD}"), format!("bearer {NEW}"), format!("BEARER   {OLD}")] {
            assert_eq!(refused(&bearer(), &[&value]), None, "{value}");
        }
    }

    #[test]
    fn a_name_and_a_password_open_as_a_browser_sends_them() {
        assert_eq!(refused(&basic(), &["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), None);
        let colons = Auth::parse(Scheme::Basic, "a:b:c:defgh").unwrap();
        assert_eq!(refused(&colons, &["basic YTpiOmM6ZGVmZ2g="]), None);
    }

    #[test]
    fn everything_else_is_told_what_is_needed() {
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
    fn every_line_that_is_no_secret_is_named_without_what_is_in_it() {
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
    fn what_is_printed_tells_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", bearer()), "Guard { scheme: Bearer, secrets: 2 }");
        assert_eq!(format!("{:?}", basic()), "Guard { scheme: Basic, secrets: 1 }");
    }

    #[test]
    fn a_scheme_is_one_of_two() {
        assert_eq!(Scheme::parse("Basic"), Some(Scheme::Basic));
        assert_eq!(Scheme::parse("bearer"), Some(Scheme::Bearer));
        assert_eq!(Scheme::parse("digest"), None);
    }

    /// Whether the time depends on how much is right: run with
    /// `cargo test --profile quick -p gateway auth -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement, not a test"]
    #[expect(clippy::print_stderr, reason = "that is all it does")]
    fn measure_a_comparison() {
        let auth = bearer();
        let half = format!("Bearer {}{}", &OLD[..OLD.len() / 2], "x".repeat(OLD.len() / 2));
        for value in [format!("Bearer {OLD}"), half, "Bearer x".to_owned()] {
            let headers = Fields::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            let begun = std::time::Instant::now();
            for _ in 0..100_000 {
                let _ = std::hint::black_box(auth.check(std::hint::black_box(&headers)));
            }
            eprintln!("{value}: {} ns", begun.elapsed().as_nanos() / 100_000);
        }
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
        fn no_text_makes_it_panic(text in "\\PC{0,80}", value in "\\PC{0,80}") {
            let _ = Auth::parse(Scheme::Bearer, &text);
            let _ = Auth::parse(Scheme::Basic, &text);
            prop_assert!(refused(&bearer(), &[&value]).is_some());
        }

        #[test]
        fn what_was_read_opens(name in "[a-zé]{1,20}", password in "[!-~é]{8,40}") {
            let auth = Auth::parse(Scheme::Basic, &format!("{name}:{password}")).unwrap();
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            prop_assert_eq!(refused(&auth, &[&value]), None);
        }
    }
}
