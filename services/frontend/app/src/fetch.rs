//! HTTP requests, and the reasons why they fail.

use js_sys::{JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Response, Window};

use crate::fields::Fields;

/// Timeout of a request. A slow connection needs several seconds for a day of history.
const TIMEOUT_MS: u32 = 30_000;

/// Reason why there is no valid response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection failed or ended.
    Network,
    /// The status is not a success.
    Status(u16),
    /// The response is 401, a sign-in page, or a redirect to one.
    SignedOut,
    /// The body cannot be decoded.
    Unreadable,
    /// Another instance responded.
    OtherInstance,
}

/// Classifies a response by its `Response.type`, its status and its media type.
pub(crate) fn outcome(kind: &str, status: u16, media_type: &str) -> Result<(), Failure> {
    let is_html = media_type.starts_with("text/html");
    match status {
        // Redirects are not followed: only a sign-in redirects these paths.
        _ if kind == "opaqueredirect" => Err(Failure::SignedOut),
        401 => Err(Failure::SignedOut),
        200..300 if is_html => Err(Failure::SignedOut),
        200..300 => Ok(()),
        0 => Err(Failure::Network),
        _ => Err(Failure::Status(status)),
    }
}

/// Sends a request. A response that [`outcome`] rejects is a failure.
pub(crate) async fn request(
    window: &Window,
    url: &str,
    headers: &[(&str, &str)],
    signal: &AbortSignal,
) -> Result<Response, Failure> {
    let fields = Object::new();
    for (name, value) in headers {
        set(&fields, name, &(*value).into());
    }
    let init = Object::new();
    set(&init, "headers", &fields);
    set(&init, "signal", signal);
    // Firefox sends a request only after the previous one for the same address, such as the stream
    // of another tab, has ended, unless it bypasses the cache.
    set(&init, "cache", &"no-store".into());
    // Another origin may use redirects, which look the same as a redirect to a sign-in page.
    if url.starts_with('/') {
        set(&init, "redirect", &"manual".into());
    }
    let answer = window.fetch_with_str_and_init(url, init.unchecked_ref());
    let answer = JsFuture::from(answer).await.map_err(|_| Failure::Network)?;
    let media_type = answer
        .unchecked_ref::<Response>()
        .headers()
        .get("content-type")
        .ok()
        .flatten()
        .unwrap_or_default();
    let response: Response = answer.unchecked_into();
    outcome(&response.text_at("type"), response.status(), &media_type)?;
    Ok(response)
}

/// Fetches the text at an address.
pub(crate) async fn text(window: &Window, url: &str) -> Result<String, Failure> {
    let accept = [("accept", "application/json")];
    let signal = AbortSignal::timeout_with_u32(TIMEOUT_MS);
    let response = request(window, url, &accept, &signal).await?;
    let text = response.text().map_err(|_| Failure::Network)?;
    let text = JsFuture::from(text).await.map_err(|_| Failure::Network)?;
    text.as_string().ok_or(Failure::Unreadable)
}

/// Parses with the browser's JSON parser, because viewers would have to download another one.
pub(crate) fn parse(text: &str) -> Option<JsValue> {
    JSON::parse(text).ok()
}

/// Sets a field of an object.
pub(crate) fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_and_sign_in_pages_mean_signed_out() {
        assert_eq!(outcome("opaqueredirect", 0, ""), Err(Failure::SignedOut));
        assert_eq!(outcome("basic", 401, "text/html"), Err(Failure::SignedOut));
        assert_eq!(outcome("basic", 200, "text/html; charset=utf-8"), Err(Failure::SignedOut));
    }

    #[test]
    fn other_responses_keep_their_status() {
        assert_eq!(outcome("basic", 200, "application/json"), Ok(()));
        assert_eq!(outcome("basic", 502, "text/html"), Err(Failure::Status(502)));
        assert_eq!(outcome("error", 0, ""), Err(Failure::Network));
    }
}
