//! HTTP requests, and the reasons for which they fail.

use js_sys::{JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Response, Window};

use crate::fields::Fields;

/// Bound of a request for figures: a slow line needs several seconds for a day of history.
const TIMEOUT_MS: u32 = 30_000;

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection, or it ended.
    Network,
    /// A status other than success.
    Status(u16),
    /// A sign-in page, or a redirect to one.
    SignedOut,
    /// A body that is not what was requested.
    Unreadable,
    /// Another instance answered.
    OtherInstance,
}

/// Classifies an answer by the type of the response, its status and its media type.
pub(crate) fn outcome(kind: &str, status: u16, media_type: &str) -> Result<(), Failure> {
    let is_html = media_type.starts_with("text/html");
    match status {
        // Redirects are not followed: nothing redirects these paths except a sign-in.
        _ if kind == "opaqueredirect" => Err(Failure::SignedOut),
        401 => Err(Failure::SignedOut),
        200..300 if is_html => Err(Failure::SignedOut),
        200..300 => Ok(()),
        0 => Err(Failure::Network),
        _ => Err(Failure::Status(status)),
    }
}

/// Sends a request; an answer other than success is a failure.
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
    // Another origin may redirect; its sign-in could not be told from it.
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
    let wants_html = headers.first().is_some_and(|(_, value)| *value == "text/html");
    let media_type = if wants_html { "" } else { &media_type };
    outcome(&response.text_at("type"), response.status(), media_type)?;
    Ok(response)
}

/// The text at an address; a page is one where HTML is no sign of a sign-in.
pub(crate) async fn text(window: &Window, url: &str, is_page: bool) -> Result<String, Failure> {
    let accept = [("accept", if is_page { "text/html" } else { "application/json" })];
    let signal = AbortSignal::timeout_with_u32(TIMEOUT_MS);
    let response = request(window, url, &accept, &signal).await?;
    let text = response.text().map_err(|_| Failure::Network)?;
    let text = JsFuture::from(text).await.map_err(|_| Failure::Network)?;
    text.as_string().ok_or(Failure::Unreadable)
}

/// Parses with the browser's JSON parser: another one would have to be loaded.
pub(crate) fn parse(text: &str) -> Option<JsValue> {
    JSON::parse(text).ok()
}

fn set(object: &Object, name: &str, value: &JsValue) {
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
    fn other_answers_keep_their_status() {
        assert_eq!(outcome("basic", 200, "application/json"), Ok(()));
        assert_eq!(outcome("basic", 502, "text/html"), Err(Failure::Status(502)));
        assert_eq!(outcome("error", 0, ""), Err(Failure::Network));
    }
}
