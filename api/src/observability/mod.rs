//! What operators see: health, metrics, logs and traces.

pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod settings;
pub(crate) mod telemetry;
