//! Jobs, hosts and counts in apalis' types.

use apalis_core::backend::queue::Queue;
use apalis_core::backend::{RunningWorker, StatType, Statistic};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::status::Status;
use apalis_core::task::task_id::TaskId;
use serde_json::{Value, json};
use wharfinger_entity::{Timestamp, host, job};
use wharfinger_jobs::queries::board::{Counts, Standing};

use crate::graphql::Kind;

/// Returns the standing of apalis' status; `None` for `Queued`, which no job has: none waits between a queue and a worker.
pub(super) fn standing(of: &Status) -> Option<Standing> {
    let mut all = Standing::ALL.into_iter();
    all.find(|standing| status(*standing) == *of)
}

fn status(standing: Standing) -> Status {
    match standing {
        Standing::Waiting => Status::Pending,
        Standing::Running => Status::Running,
        Standing::Done => Status::Done,
        Standing::Ended => Status::Failed,
        Standing::Dead => Status::Killed,
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.micros() / 1_000_000).unwrap_or(0)
}

pub(super) fn task(job: &job::Model, user: Option<&str>, host: Option<&str>) -> Task<Value> {
    let error = job.error_code.map(|code| {
        json!({ "code": code, "message": job.error_message, "retryable": job.error_retryable })
    });
    let args = json!({
        "kind": job.kind,
        "state": job.state,
        "reference": job.reference,
        "user": user,
        "host": host,
        "held": job.held.to_string(),
        "error": error,
        "discarded": job.discarded_at.is_some(),
    });
    let number = |number: i32| usize::try_from(number).unwrap_or(0);
    let mut task = TaskBuilder::new(args)
        .task_id(TaskId::from_string(Kind::Job.id(job.id).to_string()))
        .attempt(number(job.attempt))
        .max_attempts(number(job.max_attempts))
        .status(status(Standing::of(job)))
        .run_at_timestamp(seconds(job.run_after))
        .lock_by(job.worker.clone())
        .lock_at(job.started_at.map(seconds))
        .done_at(job.finished_at.map(seconds));
    if let Some(host) = host {
        task = task.queue(Queue::from(host));
    }
    task.build()
}

pub(super) fn worker(host: &host::Model) -> RunningWorker {
    RunningWorker {
        id: host.name.clone(),
        queue: host.name.clone(),
        backend: "Wharfinger".into(),
        started_at: seconds(host.created_at),
        last_heartbeat: host.last_seen_at.map_or(0, seconds),
        layers: format!("{} at a time", host.concurrency),
    }
}

/// Returns the counts under the titles that the page knows, in the order in which it shows them.
pub(super) fn statistics(counts: &Counts) -> Vec<Statistic> {
    let of = |standing| counts.of(standing);
    let numbers = [
        ("TOTAL_JOBS", counts.total()),
        ("PENDING_JOBS", of(Standing::Waiting)),
        ("RUNNING_JOBS", of(Standing::Running)),
        ("DONE_JOBS", of(Standing::Done)),
        ("FAILED_JOBS", of(Standing::Ended)),
        ("KILLED_JOBS", of(Standing::Dead)),
    ];
    (1..)
        .zip(numbers)
        .map(|(priority, (title, number))| Statistic {
            title: title.into(),
            stat_type: StatType::Number,
            value: number.to_string(),
            priority: Some(priority),
        })
        .collect()
}
