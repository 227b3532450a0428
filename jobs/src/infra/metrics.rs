//! The metrics of this crate, with their names in `/metrics`. `api/src/observability/metrics` counts requests and renders
//! all of them.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use sea_orm::{ActiveEnum as _, Iterable as _};
use wharfinger_entity::{JobKind, JobState, job};

/// Upper bounds of the buckets of a pull's phases, in seconds: a settle takes milliseconds, a transfer minutes.
pub const PHASE_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0,
];

/// Upper bounds of the buckets of a job's whole life, in seconds: with its waits and retries it may take hours.
pub const JOB_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
];

/// Says what each name means, and begins those without labels at nothing, so that a rate is there from the first on.
pub fn describe() {
    describe_counter!(
        "wharfinger_jobs_total",
        Unit::Count,
        "Jobs that ended, by kind, final state and error code (none where there is no error)"
    );
    describe_histogram!(
        "wharfinger_job_duration_seconds",
        Unit::Seconds,
        "Time from a job's acceptance to its end, waits and retries included, by kind and final state"
    );
    describe_counter!(
        "wharfinger_job_retries_total",
        Unit::Count,
        "Attempts that are followed by another one, by kind and error code (none for those handed back)"
    );
    describe_counter!(
        "wharfinger_job_takeovers_total",
        Unit::Count,
        "Jobs taken away from workers that vanished, by kind"
    );
    describe_histogram!(
        "wharfinger_pull_phase_seconds",
        Unit::Seconds,
        "Time that a phase of a pull took, by phase: resolve, record, transfer, inspect, settle"
    );
    describe_counter!(
        "wharfinger_transfers_joined_total",
        Unit::Count,
        "Pulls that joined a transfer that was under way"
    );
    describe_counter!(
        "wharfinger_pulled_bytes_total",
        Unit::Bytes,
        "Compressed bytes that pulls fetched from registries"
    );
    describe_counter!(
        "wharfinger_reused_bytes_total",
        Unit::Bytes,
        "Compressed bytes of layers that pulls found on the host already"
    );
    counter!("wharfinger_transfers_joined_total").increment(0);
    counter!("wharfinger_pulled_bytes_total").increment(0);
    counter!("wharfinger_reused_bytes_total").increment(0);
    for kind in JobKind::iter() {
        counter!("wharfinger_job_takeovers_total", "kind" => kind.name()).increment(0);
    }
}

/// Counts a change of a job that was committed, where it ended or goes on later.
pub(crate) fn job_changed(job: &job::Model) {
    let kind = job.kind.name();
    let code = job.error_code.map(|code| code.to_value());
    let error = code.unwrap_or_else(|| "none".to_owned());
    if job.state == JobState::Retrying {
        counter!("wharfinger_job_retries_total", "kind" => kind, "error" => error).increment(1);
        return;
    }
    if !job.state.is_final() {
        return;
    }
    let state = job.state.to_value().to_lowercase();
    counter!("wharfinger_jobs_total", "kind" => kind, "state" => state.clone(), "error" => error)
        .increment(1);
    if let Some(finished) = job.finished_at {
        histogram!("wharfinger_job_duration_seconds", "kind" => kind, "state" => state)
            .record(finished.since(job.accepted_at).as_secs_f64());
    }
}

/// Counts a job that was taken away from a vanished worker.
pub(crate) fn taken_over(job: &job::Model) {
    counter!("wharfinger_job_takeovers_total", "kind" => job.kind.name()).increment(1);
}
