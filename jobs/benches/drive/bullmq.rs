//! BullMQ, on the same Redis in the same minute.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;
use crate::environment::variable;
use crate::stats::Sample;

/// What it did, or none where npm could not install it.
pub(crate) struct Measured {
    /// From calling `add` to the handler.
    pub(crate) from_call: Sample,
    /// From `add`'s answer to the handler; negative where the handler was first.
    pub(crate) from_answer: Sample,
    /// Jobs from the first `add` to the last handler's end, in a second.
    pub(crate) per_second: f64,
}

/// Measures `jobs` one by one, and then `many` at once.
pub(crate) fn measure(jobs: usize, many: usize) -> Outcome<Option<Measured>> {
    // bench.sh installs it, and leaves this empty where it could not.
    let Ok(directory) = std::env::var("WHARFINGER_BENCH_BULLMQ") else {
        return Ok(None);
    };
    let run = Command::new("node")
        .arg("add-to-handler.mjs")
        .args([jobs.to_string(), many.to_string()])
        .env("REDIS_URL", variable("WHARFINGER_TEST_REDIS_URL")?)
        .current_dir(directory)
        .stderr(Stdio::inherit())
        .output()?;
    if !run.status.success() {
        return Err(format!("BullMQ's side failed: {}", run.status).into());
    }
    let said: Value = serde_json::from_slice(&run.stdout)?;
    let list = |name: &str| {
        let list = said[name].as_array().cloned().unwrap_or_default();
        Sample::new(list.iter().filter_map(Value::as_f64).collect())
    };
    Ok(Some(Measured {
        from_call: list("fromCall"),
        from_answer: list("fromAnswer"),
        per_second: said["perSecond"].as_f64().ok_or("no rate")?,
    }))
}

pub(crate) const SKIPPED: &str =
    "BullMQ                       SKIPPED: npm could not install it (is its registry reachable?)";
