//! Hands waiting jobs from the database to the queue: a bounded number ahead of the workers, fairly between users.
//!
//! Every gateway runs one over all hosts, and every worker one over its own. Each push has a number, which is noted in the
//! job first and which a worker compares when it claims the job: of two that hand out the same job, one notes it. A job that
//! no worker has claimed in time is handed out again under the next number, whatever became of the message before.

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp};

use crate::infra::db::Tries;
use crate::infra::db::sql::{Columns, Sql};
use crate::infra::tasks::{NeededBy, Task};
use crate::infra::trace;
use crate::live::events::{Event, Topic};
use crate::live::notify::Change;
use crate::live::wake::Due;
use crate::queue::Dispatch;
use crate::services::Services;

/// How often the whole is looked at while jobs wait, whatever was announced: bounds how late a due retry or a lost message
/// is noticed.
const TICK: Duration = Duration::from_secs(1);

/// The same while none waits: bounds how late a job is noticed whose announcement was lost.
const IDLE_TICK: Duration = Duration::from_secs(2);

/// How long a dispatcher may go without a pass before it counts as standing still.
const STILL: Duration = Duration::from_secs(30);

/// How long a job may be handed out without being claimed before it is handed out again.
const DELIVERY_TIME: Duration = Duration::from_secs(2);

/// How often this time doubles at most: a job waits longer where its host is busy, or its engine is silent.
const DOUBLINGS: u32 = 4;

/// Messages that wait in the queue for each job that a host runs at a time: enough to keep workers busy for the time
/// that a dispatch takes, and no more, since whoever comes now waits for all of them.
const AHEAD: usize = 1;

/// Jobs of a host that are handed out by one statement at most.
const AT_ONCE: usize = 16;

/// A job that is due.
#[derive(Debug)]
struct Waiting {
    id: Uuid,
    attempt: i32,
    push: i32,
    traceparent: Option<String>,
    dispatched_at: Option<Timestamp>,
    turn: i64,
    /// Name of its host.
    host: String,
    /// How many jobs the host runs at a time.
    concurrency: i32,
}

impl Waiting {
    const COLUMNS: &str = "jobs.id, jobs.attempt, jobs.push, jobs.traceparent, jobs.dispatched_at, jobs.turn, hosts.name, hosts.concurrency";

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let mut columns = Columns::of(row);
        Ok(Self {
            id: columns.take()?,
            attempt: columns.take()?,
            push: columns.take()?,
            traceparent: columns.take()?,
            dispatched_at: columns.take()?,
            turn: columns.take()?,
            host: columns.take()?,
            concurrency: columns.take()?,
        })
    }

    /// Whether it was handed out, and should have been claimed by now.
    fn is_late(&self, now: Timestamp) -> bool {
        // Each attempt takes one push. What is beyond was handed out again.
        let again = u32::try_from(self.push - self.attempt - 1).unwrap_or(0);
        let time = DELIVERY_TIME * 2u32.pow(again.min(DOUBLINGS));
        self.dispatched_at.is_some_and(|at| now.since(at) > time)
    }
}

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
    let mut failing = false;
    let mut next_look = Instant::now();
    loop {
        let due = tokio::select! {
            () = tokio::time::sleep_until(next_look) => Due::All,
            due = services.wake.next() => due,
        };
        let look = due == Due::All;
        let passed = pass(services, only, due, failing).await;
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

/// Looks at hosts where jobs may wait. Returns whether there are any. After a failure the queue is asked first whether it
/// answers, so that nothing is noted as handed out to one that is away.
async fn pass(
    services: &Services,
    only: Option<Uuid>,
    due: Due,
    failing: bool,
) -> Result<bool, DispatchError> {
    if failing {
        services.queue.health().await?;
    }
    let hosts = match due {
        Due::All => hosts_with_waiting_jobs(services, only).await?,
        Due::Hosts(hosts) => hosts.into_iter().collect(),
    };
    let mut any = false;
    for host_id in hosts {
        if only.is_none_or(|only| only == host_id) {
            any |= dispatch_host(services, host_id).await?;
        }
    }
    Ok(any)
}

async fn dispatch_host(services: &Services, host_id: Uuid) -> Result<bool, DispatchError> {
    let now = services.clock.now();
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
    let room = if out.len() > most / 2 {
        0
    } else {
        most - out.len()
    };
    let more = room > AT_ONCE && next.len() >= AT_ONCE;
    let mut jobs: Vec<Waiting> = out.into_iter().filter(|job| job.is_late(now)).collect();
    for job in &jobs {
        let trace_id = trace::id_of(job.traceparent.as_deref(), job.id);
        tracing::debug!(job.id = %job.id, job.attempt, trace_id, "no worker has taken a job in time: handing it out again");
    }
    jobs.extend(next.into_iter().take(room.min(AT_ONCE)));
    if !jobs.is_empty() && note(services, host_id, &jobs, now).await? {
        push(services, &host, &jobs).await?;
    }
    if more {
        services.wake.host(host_id);
    }
    Ok(true)
}

/// The hosts where jobs wait and whose queues are not paused.
async fn hosts_with_waiting_jobs(
    services: &Services,
    only: Option<Uuid>,
) -> Result<Vec<Uuid>, DbErr> {
    let db = services.db.read();
    let mut sql = Sql::new(services.db.backend());
    sql.push("SELECT hosts.id FROM hosts WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.host_id = hosts.id AND ");
    waits(&mut sql);
    sql.push(") AND NOT EXISTS (SELECT 1 FROM paused_queues WHERE paused_queues.id = hosts.id)");
    if let Some(host_id) = only {
        sql.push(" AND hosts.id = ").bind(host_id);
    }
    let rows = db.query_all_raw(sql.statement()).await?;
    rows.iter().map(|row| Columns::of(row).take()).collect()
}

/// Appends that a job waits.
fn waits(sql: &mut Sql) {
    sql.push("jobs.live = 1 AND jobs.state IN ")
        .bind_all([JobState::Queued, JobState::Retrying]);
}

/// The jobs of a host that were handed out and no worker has claimed, and the next ones of each state in fair order: by one
/// statement, so that what another dispatcher hands out in between is counted. None where the queue is paused.
async fn waiting(
    services: &Services,
    host_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Waiting>, DbErr> {
    let mut sql = Sql::new(services.db.backend());
    sql.push("SELECT * FROM (");
    due(&mut sql, host_id, now);
    // With the plus, only the index of what is handed out can be used.
    sql.push(" AND jobs.dispatched_at > 0 AND +jobs.live = 1 AND jobs.state IN ")
        .bind_all([JobState::Queued, JobState::Retrying]);
    sql.push(") AS handed_out");
    for (state, name) in [
        (JobState::Queued, "queued"),
        (JobState::Retrying, "retrying"),
    ] {
        sql.push(" UNION ALL SELECT * FROM (");
        due(&mut sql, host_id, now);
        sql.push(" AND jobs.live = 1 AND jobs.state = ").bind(state);
        // As a value and not as NOT EXISTS, which PostgreSQL joins with all that wait before it takes the first.
        sql.push(
            " AND jobs.dispatched_at IS NULL AND (SELECT 1 FROM jobs AS earlier \
             WHERE earlier.user_id = jobs.user_id AND earlier.live = 1 AND earlier.host_id = jobs.host_id \
             AND earlier.reference = jobs.reference AND earlier.ordinal < jobs.ordinal LIMIT 1) IS NULL \
             ORDER BY jobs.turn, jobs.id LIMIT ",
        );
        sql.number(AT_ONCE as u64).push(") AS ").push(name);
    }
    let rows = services.db.read().query_all_raw(sql.statement()).await?;
    rows.iter().map(Waiting::read).collect()
}

/// Appends a selection of the jobs of a host that are due, if its queue is not paused.
fn due(sql: &mut Sql, host_id: Uuid, now: Timestamp) {
    sql.push("SELECT ").push(Waiting::COLUMNS);
    sql.push(" FROM jobs JOIN hosts ON hosts.id = jobs.host_id WHERE jobs.host_id = ");
    sql.bind(host_id).push(" AND jobs.run_after <= ").bind(now);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM paused_queues WHERE paused_queues.id = ");
    sql.bind(host_id).push(")");
}

/// Raises the number of each job's push, and notes when. Returns whether any was as it had been read: where none was, another
/// dispatcher has handed them out. It need not wait for the disk: what is forgotten is handed out again.
async fn note(
    services: &Services,
    host_id: Uuid,
    jobs: &[Waiting],
    now: Timestamp,
) -> Result<bool, DbErr> {
    let mut tries = Tries::begin();
    loop {
        let mut sql = Sql::new(services.db.backend());
        sql.push("UPDATE jobs")
            .push(" SET push = push + 1, dispatched_at = ")
            .bind(now);
        // Of two that note the same jobs in different orders, PostgreSQL ends one only after a second.
        let skips = services.db.backend() == DbBackend::Postgres;
        let rows = if skips {
            "jobs.id IN (SELECT jobs.id FROM jobs WHERE "
        } else {
            ""
        };
        sql.push(" WHERE ").push(rows).push("jobs.host_id = ");
        sql.bind(host_id).push(" AND ");
        waits(&mut sql);
        sql.push(" AND jobs.run_after <= ").bind(now).push(" AND (");
        for (number, job) in jobs.iter().enumerate() {
            sql.push(if number == 0 { "" } else { " OR " });
            sql.push("(jobs.id = ").bind(job.id);
            sql.push(" AND jobs.push = ").bind(job.push).push(")");
        }
        sql.push(if skips {
            ") FOR NO KEY UPDATE SKIP LOCKED)"
        } else {
            ")"
        });
        match services.db.relaxed().execute_raw(sql.statement()).await {
            Err(error) if tries.again(&error).await => {}
            noted => return Ok(noted?.rows_affected() > 0),
        }
    }
}

/// Gives jobs to the queue under the numbers that were noted. One that was not noted here is refused by the worker.
async fn push(services: &Services, host: &str, jobs: &[Waiting]) -> Result<(), DispatchError> {
    let dispatches: Vec<Dispatch> = jobs
        .iter()
        .map(|job| Dispatch {
            job_id: job.id,
            push: Some(job.push + 1),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_late_after_twice_the_time_each_time_up_to_a_bound() {
        let at = Timestamp::from_micros(0);
        let late_after = |push, attempt| {
            let job = Waiting {
                id: Uuid::nil(),
                attempt,
                push,
                traceparent: None,
                dispatched_at: Some(at),
                turn: 0,
                host: String::new(),
                concurrency: 1,
            };
            let second = Duration::from_secs(1);
            (1..1_000_000).find(|seconds| job.is_late(at.after(second * *seconds)))
        };
        // Each attempt takes a push of its own.
        for attempt in [0, 7] {
            let seconds: Vec<_> = (1..8)
                .filter_map(|push| late_after(attempt + push, attempt))
                .collect();
            assert_eq!(seconds, [3, 5, 9, 17, 33, 33, 33]);
        }
        // Attempts of a version that did not count.
        assert_eq!(late_after(1, 5), Some(3));
    }
}
