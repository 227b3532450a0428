//! What is left of the requests that one client may send, as headers.

use std::time::Duration;

use async_graphql::Data;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::gate::data_of;

/// What is left of a quota: goes out as `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). A
/// gate puts it into the request's data, or into its refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The policy's name.
    pub policy: &'static str,
    /// Requests in a window.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// Requests that are let in now.
    pub remaining: u32,
    /// Until all of them are again.
    pub reset: Duration,
}

impl Quota {
    /// What the gate said of a request.
    pub(super) fn of(data: &Data) -> Option<Self> {
        data_of::<Self>(data).copied()
    }

    /// Adds both headers, unless they are there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Self {
            policy,
            limit,
            remaining,
            ..
        } = self;
        let (window, reset) = (seconds(self.window), seconds(self.reset));
        for (name, value) in [
            (
                "ratelimit-policy",
                format!("\"{policy}\";q={limit};w={window}"),
            ),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={reset}")),
        ] {
            let value =
                HeaderValue::try_from(value).expect("a policy's name and numbers are ASCII");
            headers
                .entry(HeaderName::from_static(name))
                .or_insert(value);
        }
    }
}

/// Whole seconds, rounded up: a client that comes back a moment early would be refused again.
pub(super) fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
