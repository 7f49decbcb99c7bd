//! Counters and access log line of a finished request.

use std::net::IpAddr;
use std::time::Duration;

use crate::message::problem::Problem;
use crate::state::Gateway;
use crate::telemetry::access_log::{self, Entry};
use crate::upstream::Lease;

use super::{RequestContext, split_target};

impl RequestContext {
    /// Records the request in metrics and access log.
    pub(crate) fn record(&self) {
        let took = self.begun.elapsed();
        let metrics =
            self.route.as_ref().map_or(&self.gateway.metrics.own, |route| &*route.metrics);
        metrics.record(self.status, Some(took), self.sent_bytes);
        self.log(took);
    }

    fn log(&self, took: Duration) {
        let failed = self.status >= 400 || self.error.is_some();
        if (self.is_health_check && !failed) || !access_log::should_log(failed) {
            return;
        }
        let trace_id = self.trace.id();
        let cache = self.cache_status.as_ref().and_then(|status| status.to_str().ok());
        let was_asked = self.attempts.lease.is_some()
            || self.upstream_address.is_some()
            || !self.attempts.failed.is_empty();
        let is_hit = self.is_from_cache && !was_asked && self.error.is_none();
        let entry = Entry {
            method: self.method.as_str(),
            path: split_target(&self.target).0.as_bytes(),
            status: self.status,
            took: Some(took),
            sent_bytes: self.sent_bytes,
            client: self.client_info.client.address(),
            request_id: &self.client_info.request_id,
            trace_id: str::from_utf8(&trace_id).unwrap_or_default(),
            route: self.route.as_ref().map_or("", |route| &route.name),
            upstream: self.attempts.lease.as_ref().map(Lease::address).or(self.upstream_address),
            cache: match cache {
                Some(status) => status,
                None if is_hit => "hit",
                None => "",
            },
            error: self.error.as_deref(),
        };
        entry.write();
    }
}

/// Records a malformed request that was rejected with this problem.
pub(crate) fn record_rejected(
    gateway: &Gateway,
    client: IpAddr,
    request_id: &str,
    problem: &Problem,
    sent_bytes: u64,
) {
    let metrics = &gateway.metrics;
    metrics.malformed.add();
    metrics.own.record(problem.status.as_u16(), None, sent_bytes);
    if !access_log::should_log(true) {
        return;
    }
    let entry = Entry {
        method: "",
        path: b"",
        status: problem.status.as_u16(),
        took: None,
        sent_bytes,
        client: client.to_canonical(),
        request_id,
        trace_id: "",
        route: "",
        upstream: None,
        cache: "",
        error: Some(&problem.detail),
    };
    entry.write();
}
