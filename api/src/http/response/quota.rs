//! The rest of a caller's requests, as headers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// A caller's quota, sent as `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The policy's name.
    pub policy: &'static str,
    /// Requests in a window.
    pub limit: u32,
    /// The length of the window.
    pub window: Duration,
    /// Requests that are admitted now.
    pub remaining: u32,
    /// Time until all of them are again.
    pub reset: Duration,
}

impl Quota {
    /// Adds both headers, unless they are there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self {
            policy,
            limit,
            remaining,
            ..
        } = self;
        let (window, reset) = (seconds(self.window), seconds(self.reset));
        let policy_header = format!("\"{policy}\";q={limit};w={window}");
        let rest = format!("\"{policy}\";r={remaining};t={reset}");
        for (name, value) in [("ratelimit-policy", policy_header), ("ratelimit", rest)] {
            let value = HeaderValue::try_from(value).expect("names and numbers are ASCII");
            let name = HeaderName::from_static(name);
            headers.entry(name).or_insert(value);
        }
    }
}

/// The quota of a request, in the request's data. It is set when the request begins, or once its caller is known.
#[derive(Debug, Clone, Default)]
pub struct QuotaLeft(Arc<OnceLock<Quota>>);

impl QuotaLeft {
    /// Sets the quota. Only the first call counts.
    pub fn note(&self, quota: Quota) {
        let _ = self.0.set(quota);
    }

    /// Returns the quota, once it is set.
    pub(crate) fn get(&self) -> Option<Quota> {
        self.0.get().copied()
    }
}

impl From<Option<Quota>> for QuotaLeft {
    fn from(known: Option<Quota>) -> Self {
        Self(Arc::new(known.map(OnceLock::from).unwrap_or_default()))
    }
}

/// Whole seconds, rounded up, so that a client that waits for them is admitted.
pub(crate) fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
