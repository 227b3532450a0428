//! What is left of the requests that one client may send, as headers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// What is left of a quota: goes out as `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
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
    /// Adds both headers, unless they are there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
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

/// Where a gate says what is left to a client, in the data of its request: when that begins, or as soon as it is known whose
/// request it is.
#[derive(Debug, Clone, Default)]
pub struct QuotaLeft(Arc<OnceLock<Quota>>);

impl QuotaLeft {
    /// Says it. The first word counts.
    pub fn note(&self, quota: Quota) {
        let _ = self.0.set(quota);
    }

    /// What was said.
    pub(crate) fn get(&self) -> Option<Quota> {
        self.0.get().copied()
    }
}

impl From<Option<Quota>> for QuotaLeft {
    fn from(known: Option<Quota>) -> Self {
        let left = Self::default();
        if let Some(quota) = known {
            left.note(quota);
        }
        left
    }
}

/// Whole seconds, rounded up: a client that comes back a moment early would be refused again.
pub(crate) fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
