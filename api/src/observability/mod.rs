//! Health, metrics, logs and traces: the views that operators have of a process.
//!
//! [`health`] has `/healthz` and `/readyz`, [`metrics`] counts requests and serves `/metrics`, [`telemetry`] writes logs
//! and sends traces. Each takes its part of [`settings`].

pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod settings;
pub(crate) mod telemetry;
