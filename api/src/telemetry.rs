//! Logs: text on a terminal, JSON otherwise.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `directives` are those of `tracing-subscriber`.
pub(crate) fn start(directives: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives)
        .with_context(|| format!("log: {directives:?} is not understood"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder
            .with_ansi(std::env::var_os("NO_COLOR").is_none())
            .init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}
