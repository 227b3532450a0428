//! Hands waiting jobs from the database to the queue: a bounded number ahead of the workers, fairly between users.
//!
//! Every gateway runs one over all hosts, and every worker one over its own. Each push has a number, which is noted in the job
//! before its message is sent: of two that hand out the same job, one notes it. A job that no worker has claimed in time is
//! handed out again under the next number, whatever became of the message before (ADR 0041).

mod waiting;

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::DbErr;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp};

use crate::infra::tasks::{NeededBy, Task};
use crate::infra::trace;
use crate::live::events::{Event, Topic};
use crate::live::notify::Change;
use crate::live::wake::Due;
use crate::queue::{Dispatch, JobQueue};
use crate::services::Services;

use waiting::{AT_ONCE, Waiting, hosts_with_waiting_jobs, note, waiting};

/// Time between two looks at all hosts while jobs wait: bounds how late a due retry or a lost message is noticed.
const TICK: Duration = Duration::from_secs(1);

/// Time between two looks while no job waits: bounds how late a job is noticed whose announcement was lost.
const IDLE_TICK: Duration = Duration::from_secs(2);

/// The longest time that a dispatcher may go without a pass before it counts as standing still.
const STILL: Duration = Duration::from_secs(30);

/// The longest time that a job may be handed out without being claimed before it is handed out again, where a worker could take it.
const LATE: Duration = Duration::from_secs(2);

/// The same where its host is busy, or its engine is silent.
const LATE_ON_A_BUSY_HOST: Duration = Duration::from_secs(32);

/// Messages that wait in the queue for each job that a host runs at a time: enough to keep workers busy for the time
/// that a dispatch takes, and no more, since a user who comes now waits for all of them.
const AHEAD: usize = 1;

#[derive(Debug, thiserror::Error)]
enum DispatchError {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Queue(#[from] crate::queue::QueueError),
}

/// Dispatches until `stop`: for one host, or for all.
pub async fn run(services: Services, only: Option<Uuid>, stop: CancellationToken) {
    let task = services.tasks.looping("dispatcher", NeededBy::All, STILL);
    let (dispatching, listening) = (
        dispatch(&services, only, task.clone()),
        listen(&services, only),
    );
    let both = async {
        tokio::join!(dispatching, listening);
    };
    task.until(stop, both).await;
}

async fn dispatch(services: &Services, only: Option<Uuid>, task: Task) {
    // A queue in memory begins empty: what an earlier process handed out is in none.
    let lost_before = match services.queue {
        JobQueue::Memory(_) => services.clock.now(),
        JobQueue::Redis(_) => Timestamp::from_micros(0),
    };
    let mut failing = false;
    let mut next_look = Instant::now();
    loop {
        let due = tokio::select! {
            () = tokio::time::sleep_until(next_look) => Due::All,
            due = services.wake.next() => due,
        };
        let look = due == Due::All;
        let passed = pass(services, only, due, lost_before, failing).await;
        let idle = matches!(passed, Ok(false));
        if look {
            next_look = Instant::now() + if idle { IDLE_TICK } else { TICK };
        } else if !idle {
            next_look = next_look.min(Instant::now() + TICK);
        }
        // One that the database does not let pass is none. The queue is reported by itself.
        if !matches!(passed, Err(DispatchError::Database(_))) {
            task.passed();
        }
        match passed {
            Ok(_) => failing = false,
            // Said once, not every second: jobs stay where they are until the queue is back.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "cannot hand jobs to the queue: they wait in the database");
            }
            Err(_) => {}
        }
    }
}

/// Wakes the dispatcher when another process announces that a job waits on a host that is its own. A job that ends there makes
/// no room in the queue, and what waited for its end is handed out by the process that ended it, or at the next tick.
async fn listen(services: &Services, only: Option<Uuid>) {
    let waiting = [JobState::Queued, JobState::Retrying];
    let mut changes = services.events.subscribe(Topic::AllJobs);
    while let Some(event) = changes.next().await {
        let Event::Message(payload) = event else {
            services.wake.all();
            continue;
        };
        match serde_json::from_slice::<Change>(&payload) {
            Ok(change) if waiting.contains(&change.state) => match change.host_id {
                Some(host) if only.is_none_or(|only| only == host) => services.wake.host(host),
                Some(_) => {}
                None => services.wake.all(),
            },
            _ => {}
        }
    }
    std::future::pending::<()>().await;
}

/// Looks at hosts where jobs may wait. Returns whether there are any, or the first error: the other hosts are looked at all the
/// same, and this one again by the next tick. After a failure the queue is asked first whether it answers, so that nothing is
/// noted as handed out to one that is away.
async fn pass(
    services: &Services,
    only: Option<Uuid>,
    due: Due,
    lost_before: Timestamp,
    failing: bool,
) -> Result<bool, DispatchError> {
    if failing {
        services.queue.health().await?;
    }
    // What is late is looked for by ticks alone: a wake-up is for what is new.
    let lost_before = (due == Due::All).then_some(lost_before);
    let hosts = match due {
        Due::All => hosts_with_waiting_jobs(services, only).await?,
        Due::Hosts(hosts) => hosts.into_iter().collect(),
    };
    let mut passed = Ok(false);
    for host_id in hosts {
        if only.is_some_and(|only| only != host_id) {
            continue;
        }
        match dispatch_host(services, host_id, lost_before).await {
            Ok(waits) => passed = passed.map(|any| any || waits),
            Err(error) => {
                let away = is_away(services, &error).await;
                passed = passed.and(Err(error));
                if away {
                    break;
                }
            }
        }
    }
    passed
}

/// Whether an error is not of one host alone: the database or the queue is away.
async fn is_away(services: &Services, error: &DispatchError) -> bool {
    match error {
        DispatchError::Database(_) => services.db.ping().await.is_err(),
        DispatchError::Queue(_) => services.queue.health().await.is_err(),
    }
}

/// Hands out the next jobs of a host, and the late ones if `lost_before` says which are lost for certain. Returns whether any
/// waits.
async fn dispatch_host(
    services: &Services,
    host_id: Uuid,
    lost_before: Option<Timestamp>,
) -> Result<bool, DispatchError> {
    let now = services.clock.now();
    let taken = services.wake.taken_so_far(host_id);
    let waiting = waiting(services, host_id, now).await?;
    let Some(any) = waiting.first() else {
        return Ok(false);
    };
    let host = any.host.clone();
    let most = usize::try_from(any.concurrency).unwrap_or(1).max(1) * AHEAD;
    let (out, mut next): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .partition(|job| job.dispatched_at.is_some());
    next.sort_unstable_by_key(|job| (job.turn, job.id));
    // A busy host is given more when half of what it was given is taken: many by one statement.
    let to_be_taken = |out: usize| out.saturating_sub(most / 2);
    let handed_out = out.len();
    let room = if to_be_taken(handed_out) > 0 {
        0
    } else {
        most - handed_out
    };
    let more = room > AT_ONCE && next.len() >= AT_ONCE;
    next.truncate(room.min(AT_ONCE));
    let to_be_taken = to_be_taken(handed_out + next.len());
    let mut jobs = late(services, out, lost_before, now);
    for job in &jobs {
        let trace_id = trace::id_of(job.traceparent.as_deref(), job.id);
        tracing::debug!(job.id = %job.id, job.attempt, trace_id, "no worker has taken a job in time: handing it out again");
    }
    jobs.extend(next);
    if !jobs.is_empty() {
        let noted = note(services, host_id, jobs, now).await?;
        push(services, &host, &noted).await?;
    }
    if to_be_taken > 0 {
        services
            .wake
            .has_enough_until(host_id, taken + to_be_taken as u64);
    }
    if more {
        services.wake.host(host_id);
    }
    Ok(true)
}

/// Which of the jobs that are handed out should have been claimed by now.
fn late(
    services: &Services,
    mut out: Vec<Waiting>,
    lost_before: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Waiting> {
    out.retain(|job| {
        let (Some(at), Some(lost_before)) = (job.dispatched_at, lost_before) else {
            return false;
        };
        let time = if job.finds_a_worker(services) {
            LATE
        } else {
            LATE_ON_A_BUSY_HOST
        };
        at < lost_before || now.since(at) > time
    });
    out
}

/// Gives jobs to the queue under the numbers that were noted.
async fn push(services: &Services, host: &str, jobs: &[Waiting]) -> Result<(), DispatchError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let dispatches: Vec<Dispatch> = jobs
        .iter()
        .map(|job| Dispatch {
            job_id: job.id,
            push: Some(job.push),
            attempt: job.attempt,
            traceparent: job.traceparent.clone(),
        })
        .collect();
    let spans: Vec<_> = jobs
        .iter()
        .map(|job| trace::dispatch(host, job.id, job.traceparent.as_deref()))
        .collect();
    services
        .queue
        .push(host, &dispatches)
        .await
        .inspect_err(|_| spans.iter().for_each(|span| trace::failed(span, "queue")))?;
    for job in jobs {
        let trace_id = trace::id_of(job.traceparent.as_deref(), job.id);
        tracing::debug!(job.id = %job.id, job.attempt, trace_id, host, "handed a job out");
    }
    Ok(())
}
