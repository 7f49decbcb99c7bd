//! Serialization of response heads, and responses that the gateway generates.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_STATUS, CONNECTION, HeaderName, STRICT_TRANSPORT_SECURITY};
use http::{Method, StatusCode};

use crate::cache::CachedResponse;
use crate::fields::Fields;
use crate::message::problem::Problem;
use crate::request::client_info::Scheme;
use crate::request::forwarded::REQUEST_ID;
use crate::request::rate_limit::Quota;

use super::{RequestContext, text_of};
use crate::message::head::{FullResponse, begin_head, field};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One year, as hstspreload.org requires; sent only over HTTPS (RFC 6797).
const HSTS: &[u8] = b"max-age=31536000";

impl RequestContext {
    /// A response from the cache.
    pub(crate) fn answer(&mut self, answer: &CachedResponse) -> FullResponse {
        self.cache_status = None;
        self.is_from_cache = true;
        self.has_hsts = answer.has_hsts();
        let mut head = Vec::with_capacity(1024);
        answer.write_head(&mut head);
        self.add_fields(&mut head);
        let body = answer.body();
        self.status = answer.status().as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// A response for a rejected request; the connection persists, because the whole request has
    /// been read.
    pub(crate) fn reject_with(&mut self, problem: &Problem) -> FullResponse {
        self.error = Some(problem.detail.clone());
        self.has_hsts = false;
        let (fields, body) = self.problem(problem);
        self.reply(problem.status, &fields, body)
    }

    /// A response for a failed upstream request: the stale one from the cache where allowed, or the
    /// problem.
    pub(crate) fn fail(&mut self, problem: &Problem) -> FullResponse {
        let stale = self.fill.as_mut().and_then(|fill| fill.failed(Instant::now()));
        let reply = match stale {
            Some(answer) => self.answer(&answer),
            None => self.reject_with(problem),
        };
        self.error = Some(problem.detail.clone());
        reply
    }

    /// Fields and body for a problem.
    pub(crate) fn problem(&self, problem: &Problem) -> (Fields, Bytes) {
        problem.render(text_of(self.accept.as_ref()), &self.client_info.request_id)
    }

    /// A complete response that the gateway generates.
    pub(super) fn reply(
        &mut self,
        status: StatusCode,
        fields: &Fields,
        body: Bytes,
    ) -> FullResponse {
        let mut head = Vec::with_capacity(512);
        begin_head(&mut head, status, fields);
        field(&mut head, "content-length", body.len().to_string().as_bytes());
        let date = httpdate::HttpDate::from(SystemTime::now()).to_string();
        field(&mut head, "date", date.as_bytes());
        self.add_fields(&mut head);
        let body = if self.method == Method::HEAD { Bytes::new() } else { body };
        self.status = status.as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// Adds the fields of every response, and the end of the head.
    pub(crate) fn finish(&self, head: &mut Vec<u8>) {
        self.add_fields(head);
        self.end_head(head);
    }

    fn add_fields(&self, head: &mut Vec<u8>) {
        self.each_field(|name, value| field(head, name.as_str(), value));
    }

    /// Adds the field about the connection, and the empty line.
    pub(crate) fn end_head(&self, head: &mut Vec<u8>) {
        if self.close_after {
            field(head, CONNECTION.as_str(), b"close");
        } else if self.is_http10 {
            field(head, CONNECTION.as_str(), b"keep-alive");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// Passes the fields of every response to `set`.
    pub(crate) fn each_field(&self, mut set: impl FnMut(&HeaderName, &[u8])) {
        set(&REQUEST_ID, self.client_info.request_id.as_bytes());
        if let Some(status) = &self.cache_status {
            set(&CACHE_STATUS, status.as_bytes());
        }
        // The upstream's field has precedence.
        if self.client_info.scheme == Scheme::Https && !self.has_hsts {
            set(&STRICT_TRANSPORT_SECURITY, HSTS);
        }
        if let Some((policy, limit)) = self.quota.as_ref().map(Quota::fields) {
            set(&RATE_LIMIT_POLICY, policy.as_bytes());
            set(&RATE_LIMIT, limit.as_bytes());
        }
    }
}

/// Removes duplicates of fields that must occur once, and fields that the gateway sets.
pub(crate) fn deduplicate_fields(fields: &mut Fields) {
    fields.remove(REQUEST_ID);
    // RFC 6797, section 7.1: one field.
    if fields.get_all(STRICT_TRANSPORT_SECURITY).nth(1).is_some()
        && let Some(first) = fields.get(STRICT_TRANSPORT_SECURITY).cloned()
    {
        fields.insert(STRICT_TRANSPORT_SECURITY, first);
    }
}
