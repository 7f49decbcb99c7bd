//! Request signatures by HMAC-SHA-256 with a shared secret, in the header fields of RFC 9421 (HTTP
//! Message Signatures). Only one form is supported: it covers method and path, and has the time of
//! the signature as a parameter.
//!
//! ```text
//! Signature-Input: sig=("@method" "@path");created=1795000000;alg="hmac-sha256"
//! Signature: sig=:BASE64:
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The field with the covered components and the parameters.
pub const INPUT: &str = "signature-input";

/// The field with the signature.
pub const SIGNATURE: &str = "signature";

/// The signature that a request must carry, as in `Accept-Signature` (RFC 9421, section 5.1).
pub const ACCEPTED: &str = "sig=(\"@method\" \"@path\");created;alg=\"hmac-sha256\"";

/// The covered components.
const COVERED: &str = "(\"@method\" \"@path\")";

/// Minimum length of a secret, characters. 16 random characters of the base64 alphabet are 96 bits,
/// which cannot be found by brute force from a captured signature.
const SHORTEST: usize = 16;

/// Maximum length of a secret and of a field, bytes.
const LONGEST: usize = 512;

/// A shared secret. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Box<[u8]>);

/// The values of the two fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Value of `Signature-Input`.
    pub input: String,
    /// Value of `Signature`.
    pub signature: String,
}

/// Reason for which a signature is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The fields do not have the supported form.
    Form,
    /// No key matches the signature.
    Wrong,
}

impl Key {
    /// Parses secrets, one per line. Blank lines and white space around a secret are ignored.
    /// Several secrets allow rotation without an interruption.
    ///
    /// # Errors
    /// Returns a clause for every invalid line, with the number of the line and without its
    /// content.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Vec<String>> {
        let (mut keys, mut faults) = (Vec::new(), Vec::new());
        let lines = text.lines().map(str::trim).enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let number = index + 1;
            if line.chars().count() < SHORTEST {
                faults.push(format!("line {number} has fewer than {SHORTEST} characters"));
            } else if line.len() > LONGEST || line.chars().any(char::is_control) {
                faults.push(format!(
                    "line {number} has more than {LONGEST} bytes or a control character"
                ));
            } else {
                keys.push(Self(line.as_bytes().into()));
            }
        }
        if keys.is_empty() && faults.is_empty() {
            faults.push("there is no secret in it".to_owned());
        }
        if faults.is_empty() { Ok(keys) } else { Err(faults) }
    }

    /// Signs a request with this method and path, exactly as sent, and this time in seconds since
    /// the Unix epoch.
    pub fn sign(&self, method: &str, path: &str, created: u64) -> Signed {
        let params = format!("{COVERED};created={created};alg=\"hmac-sha256\"");
        let code = self.code(&base(method, path, &params)).map(|it| it.finalize().into_bytes());
        let code = code.map(|code| STANDARD.encode(code)).unwrap_or_default();
        Signed { input: format!("sig={params}"), signature: format!("sig=:{code}:") }
    }

    fn code(&self, base: &str) -> Option<Hmac<Sha256>> {
        // HMAC accepts keys of any length.
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        code.update(base.as_bytes());
        Some(code)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

/// Verifies the signature of a request with this method and path. Returns the time of the signature
/// in seconds since the Unix epoch. All keys are tried, each in constant time.
///
/// # Errors
/// The fields do not have the supported form, or the signature is for another request or made with
/// another secret.
pub fn verify(
    keys: &[Key],
    method: &str,
    path: &str,
    input: &str,
    signature: &str,
) -> Result<u64, Invalid> {
    let (params, created, code) = parse(input, signature).ok_or(Invalid::Form)?;
    let base = base(method, path, params);
    let is_right = keys.iter().fold(false, |any, key| {
        any | key.code(&base).is_some_and(|right| right.verify_slice(&code).is_ok())
    });
    if is_right { Ok(created) } else { Err(Invalid::Wrong) }
}

/// The signature parameters as text, the time of the signature, and the code.
fn parse<'a>(input: &'a str, signature: &str) -> Option<(&'a str, u64, Vec<u8>)> {
    if input.len() > LONGEST || signature.len() > LONGEST {
        return None;
    }
    let (label, params) = input.split_once('=')?;
    let (same, code) = signature.split_once('=')?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if label != same || label.is_empty() || !label.bytes().all(plain) {
        return None;
    }
    let code = STANDARD.decode(code.strip_prefix(':')?.strip_suffix(':')?).ok()?;
    let rest = params.strip_prefix(COVERED)?.strip_prefix(';')?;
    let mut created = None;
    for part in rest.split(';') {
        match part.split_once('=')? {
            ("created", digits) if created.is_none() && is_number(digits) => {
                created = digits.parse().ok();
            }
            ("alg", "\"hmac-sha256\"") => {}
            // Other parameters, such as `expires`, could change the meaning.
            _ => return None,
        }
    }
    Some((params, created?, code))
}

/// Whether the text is a time in seconds: 1 to 15 digits.
fn is_number(digits: &str) -> bool {
    (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The signature base (RFC 9421, section 2.5).
fn base(method: &str, path: &str, params: &str) -> String {
    format!("\"@method\": {method}\n\"@path\": {path}\n\"@signature-params\": {params}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: &str = "/fleet/10.0.0.7:8080";

    fn keys(text: &str) -> Vec<Key> {
        Key::parse_all(text).unwrap()
    }

    #[test]
    fn a_signature_is_the_one_of_openssl() {
        // printf '"@method": PUT\n"@path": /fleet/10.0.0.7:8080\n"@signature-params": %s' \
        //   '("@method" "@path");created=1795000000;alg="hmac-sha256"' |
        //   openssl dgst -sha256 -hmac 0123456789abcdef -binary | base64
        let signed = keys("0123456789abcdef")[0].sign("PUT", PATH, 1_795_000_000);
        assert_eq!(
            signed.input,
            "sig=(\"@method\" \"@path\");created=1795000000;alg=\"hmac-sha256\""
        );
        assert_eq!(signed.signature, "sig=:uVvQW5+uR8CpdiA2gsaAJ0wCs3+yyqxLPz04fW3WCfU=:");
    }

    #[test]
    fn the_old_and_the_new_secret_are_right_while_one_is_being_changed() {
        let both = keys("an-old-secret-012345\n\n  a new secret 0123456 \r\n");
        for key in &both {
            let signed = key.sign("DELETE", PATH, 7);
            assert_eq!(verify(&both, "DELETE", PATH, &signed.input, &signed.signature), Ok(7));
        }
    }

    #[test]
    fn another_request_or_secret_is_wrong() {
        let keys = keys("0123456789abcdef");
        let Signed { input, signature } = keys[0].sign("PUT", PATH, 7);
        let wrong = Err(Invalid::Wrong);
        let other = Key::parse_all("0123456789abcdeF").unwrap();
        assert_eq!(verify(&other, "PUT", PATH, &input, &signature), wrong);
        assert_eq!(verify(&[], "PUT", PATH, &input, &signature), wrong);
        assert_eq!(verify(&keys, "DELETE", PATH, &input, &signature), wrong);
        assert_eq!(verify(&keys, "PUT", "/fleet/10.0.0.7:8081", &input, &signature), wrong);
        let later = input.replace("=7", "=8");
        assert_eq!(verify(&keys, "PUT", PATH, &later, &signature), wrong);
        assert_eq!(verify(&keys, "PUT", PATH, &input, "sig=::"), wrong);
        assert_eq!(verify(&keys, "PUT", PATH, &input, "sig=:AAAA:"), wrong);
    }

    #[test]
    fn fields_of_another_form_are_rejected() {
        let keys = keys("0123456789abcdef");
        let Signed { input, signature } = keys[0].sign("PUT", PATH, 7);
        for input in [
            "",
            "sig",
            "sig=()",
            "sig=(\"@method\");created=7",
            "sig=(\"@method\" \"@path\")",
            "sig=(\"@method\" \"@path\");created=-7",
            "sig=(\"@method\" \"@path\");created=7;created=8",
            "sig=(\"@method\" \"@path\");created=7;expires=8",
            "sig=(\"@method\" \"@path\");created=7;alg=\"none\"",
            "sig=(\"@method\" \"@path\");created=9999999999999999",
            "other=(\"@method\" \"@path\");created=7",
            "SIG=(\"@method\" \"@path\");created=7",
            &format!("{input}, b=()"),
            &format!("{input}{}", ";alg=\"hmac-sha256\"".repeat(40)),
        ] {
            assert_eq!(
                verify(&keys, "PUT", PATH, input, &signature),
                Err(Invalid::Form),
                "{input}"
            );
        }
        for signature in ["", "sig", "sig=", "sig=:", "sig=:é:", "sig=:=:", "sig=AAAA"] {
            let result = verify(&keys, "PUT", PATH, &input, signature);
            assert_eq!(result, Err(Invalid::Form), "{signature}");
        }
    }

    #[test]
    fn faults_name_lines_without_their_content_and_nothing_prints_a_secret() {
        let faults = Key::parse_all(&format!("short\n{}\n", "x".repeat(513))).unwrap_err();
        assert!(faults[0].starts_with("line 1 has fewer"), "{faults:?}");
        assert!(faults[1].starts_with("line 2 has more") && !faults[1].contains('x'));
        assert!(Key::parse_all(" \n").is_err());
        assert_eq!(format!("{:?}", keys("0123456789abcdef")), "[Key]");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(input in "\\PC{0,80}", signature in "\\PC{0,80}") {
            let keys = keys("0123456789abcdef");
            prop_assert!(verify(&keys, "PUT", PATH, &input, &signature).is_err());
            let input = format!("sig={COVERED};{input}");
            let signature = format!("sig=:{signature}:");
            prop_assert!(verify(&keys, "PUT", PATH, &input, &signature).is_err());
        }

        #[test]
        fn what_was_signed_is_right(secret in "[!-~é]{16,80}", path in "/[!-~]{0,40}", created in 0..10_u64.pow(15)) {
            let keys = keys(&secret);
            let Signed { input, signature } = keys[0].sign("PUT", &path, created);
            prop_assert_eq!(verify(&keys, "PUT", &path, &input, &signature), Ok(created));
        }
    }
}
