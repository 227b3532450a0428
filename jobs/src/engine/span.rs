//! Spans of the calls of an engine.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use tracing::{Instrument as _, Span};

use super::{Engine, EngineError};
use crate::infra::trace;

impl Engine {
    /// Makes a call, under a span of its own where it is part of a trace. What merely is not there is no failure of the call.
    pub(super) async fn ask<T, F>(
        &self,
        method: &'static str,
        template: &'static str,
        deadline: Duration,
        request: impl Fn(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let span = self.described(trace::call(method, template));
        let call = self.connection.call(deadline, request);
        let answer = call.instrument(span.clone()).await;
        if let Err(error) = &answer
            && !matches!(error, EngineError::NotFound(_))
        {
            trace::failed(&span, error.kind());
        }
        answer
    }

    /// The span of a pull, whose events come for as long as it lasts.
    pub(crate) fn pull_span(&self) -> Span {
        self.described(trace::call_apart("POST", "/images/create"))
    }

    fn described(&self, span: Span) -> Span {
        if span.is_disabled() {
            return span;
        }
        if let Some(path) = self.connection.host.strip_prefix("unix://") {
            span.record("server.address", path);
            span.record("network.transport", "unix");
        } else if let Some((host, port)) = self
            .connection
            .host
            .strip_prefix("tcp://")
            .and_then(|address| address.rsplit_once(':'))
        {
            span.record("server.address", host);
            if let Ok(port) = port.parse::<u16>() {
                span.record("server.port", port);
            }
        }
        span
    }
}

impl EngineError {
    /// The kind of error, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Denied(_) => "denied",
            Self::RegistryUnavailable(_) => "registry_unavailable",
            Self::RateLimited(_) => "rate_limited",
            Self::DiskFull(_) => "disk_full",
            Self::Unavailable { .. } => "unavailable",
            Self::InUse(_) => "in_use",
            Self::Conflict(_) => "conflict",
            Self::Unsupported(_) => "unsupported",
            Self::Other { .. } => "other",
        }
    }
}
