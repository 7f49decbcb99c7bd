//! Heads of responses, and the responses that the gateway composes.

use std::time::{Instant, SystemTime};

use bytes::{BufMut, Bytes};
use http::header::{CACHE_STATUS, CONNECTION, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, Method, StatusCode};

use crate::cache::Answer;
use crate::request::forwarded::REQUEST_ID;
use crate::request::rate_limit::Quota;
use crate::request::trusted_proxies::Scheme;
use crate::response::problem::Problem;

use super::{FullResponse, RequestContext, text_of};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A year, as hstspreload.org asks for; sent only over HTTPS (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl RequestContext {
    /// An answer from memory.
    pub(crate) fn answer(&mut self, answer: &Answer) -> FullResponse {
        self.cache_status = None;
        self.has_hsts = answer.has_hsts();
        let mut head = Vec::with_capacity(1024);
        answer.write_head(&mut head);
        self.finish(&mut head);
        let body = answer.body();
        self.status = answer.status().as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// The gateway's own answer to what cannot be met; the connection goes on, because the whole
    /// request has been read.
    pub(crate) fn reject_with(&mut self, problem: &Problem) -> FullResponse {
        self.error = Some(problem.detail.clone());
        self.has_hsts = false;
        let (fields, body) = self.problem(problem);
        self.reply(problem.status, &fields, body)
    }

    /// What is said when no upstream could be asked: the old answer where that may be used, or why.
    pub(crate) fn fail(&mut self, problem: &Problem) -> FullResponse {
        let stale = self.filling.as_mut().and_then(|filling| filling.failed(Instant::now()));
        let reply = match stale {
            Some(answer) => self.answer(&answer),
            None => self.reject_with(problem),
        };
        self.error = Some(problem.detail.clone());
        reply
    }

    /// Fields and body for a problem.
    pub(crate) fn problem(&self, problem: &Problem) -> (HeaderMap, Bytes) {
        problem.answer(text_of(self.accept.as_ref()), &self.client_info.request_id)
    }

    /// A complete answer of the gateway's own.
    pub(super) fn reply(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
        body: Bytes,
    ) -> FullResponse {
        let mut head = Vec::with_capacity(512);
        begin_head(&mut head, status, fields);
        field(&mut head, "content-length", body.len().to_string().as_bytes());
        let date = httpdate::HttpDate::from(SystemTime::now()).to_string();
        field(&mut head, "date", date.as_bytes());
        self.finish(&mut head);
        let body = if self.method == Method::HEAD { Bytes::new() } else { body };
        self.status = status.as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// Adds what every answer has, and the empty line.
    pub(crate) fn finish(&self, head: &mut Vec<u8>) {
        for (name, value) in self.fields() {
            field(head, name.as_str(), value.as_bytes());
        }
        if self.closes {
            field(head, CONNECTION.as_str(), b"close");
        } else if self.is_http10 {
            field(head, CONNECTION.as_str(), b"keep-alive");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// The fields that every answer has.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let id = HeaderValue::from_str(&self.client_info.request_id).ok();
        // The upstream's policy comes first.
        let hsts = (self.client_info.scheme == Scheme::Https && !self.has_hsts).then_some(HSTS);
        let quota = self.quota.as_ref().map(Quota::fields);
        let (policy, limit) =
            quota.map_or((None, None), |(policy, limit)| (Some(policy), Some(limit)));
        [
            (REQUEST_ID, id),
            (CACHE_STATUS, self.cache_status.clone()),
            (STRICT_TRANSPORT_SECURITY, hsts),
            (RATE_LIMIT_POLICY, policy),
            (RATE_LIMIT, limit),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Takes out of an upstream's answer what is said once, and by the gateway.
pub(crate) fn keep_one_of_each(fields: &mut HeaderMap) {
    fields.remove(REQUEST_ID);
    // RFC 6797, section 7.1: one field.
    if fields.get_all(STRICT_TRANSPORT_SECURITY).iter().nth(1).is_some()
        && let Some(first) = fields.get(STRICT_TRANSPORT_SECURITY).cloned()
    {
        fields.insert(STRICT_TRANSPORT_SECURITY, first);
    }
}

/// Writes the first lines of an answer's head.
pub(crate) fn begin_head(text: &mut impl BufMut, status: StatusCode, fields: &HeaderMap) {
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        text.put_slice(part.as_bytes());
    }
    for (name, value) in fields {
        field(text, name.as_str(), value.as_bytes());
    }
}

/// Writes a field as a line of a head.
pub(crate) fn field(text: &mut impl BufMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.put_slice(part);
    }
}
