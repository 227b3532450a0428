//! Hands waiting jobs from the database to the queue: a bounded number ahead of the workers, fairly between users.
//!
//! Every gateway runs one over all hosts, and every worker one over its own. They may hand out the same job twice: the
//! queue knows messages by job, and a job is claimed in the database before anything is done for it. What the queue lost
//! (it was flushed, restarted, away) is handed out again.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, host, job, paused_queue};

use crate::infra::tasks::{NeededBy, Task};
use crate::infra::trace;
use crate::job::order;
use crate::live::events::{Event, Topic};
use crate::live::notify::Change;
use crate::queue::Dispatch;
use crate::services::Services;

/// How often the whole is looked at while jobs wait, whatever was announced: bounds how late a due retry or a lost message
/// is noticed.
const TICK: Duration = Duration::from_secs(1);

/// The same while none waits: bounds how late a job is noticed whose announcement was lost.
const IDLE_TICK: Duration = Duration::from_secs(2);

/// How long a dispatcher may go without a pass before it counts as standing still.
const STILL: Duration = Duration::from_secs(30);

/// How long a message may be on its way before the queue is asked whether it still has it.
const DELIVERY_TIME: Duration = Duration::from_secs(2);

/// Messages that wait in the queue for each job that a host runs at a time: enough to keep workers busy for the time
/// that a dispatch takes, and no more, since whoever comes now waits for all of them.
const AHEAD: u64 = 1;

/// What the queue is told of a job, and when it last was.
#[derive(Debug, FromQueryResult)]
struct Waiting {
    id: Uuid,
    attempt: i32,
    traceparent: Option<String>,
    dispatched_at: Option<Timestamp>,
}

impl Waiting {
    const COLUMNS: [job::Column; 4] = [
        job::Column::Id,
        job::Column::Attempt,
        job::Column::Traceparent,
        job::Column::DispatchedAt,
    ];
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
        let look = tokio::select! {
            () = tokio::time::sleep_until(next_look) => true,
            () = services.wake.notified() => false,
        };
        let passed = pass(services, only, look).await;
        let idle = matches!(passed, Ok(0));
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

/// Wakes the dispatcher when another process announces a change on a host that is its own.
async fn listen(services: &Services, only: Option<Uuid>) {
    let mut changes = services.events.subscribe(Topic::AllJobs);
    while let Some(event) = changes.next().await {
        let may_be_work = match event {
            Event::Gap => true,
            Event::Message(payload) => serde_json::from_slice::<Change>(&payload)
                .is_ok_and(|change| is_work(&change, only)),
        };
        if may_be_work {
            services.wake.notify_one();
        }
    }
    std::future::pending::<()>().await;
}

/// Whether a change may leave something to dispatch on these hosts: a job that waits is work, one that ended makes room, and
/// one that begins to run is neither.
fn is_work(change: &Change, only: Option<Uuid>) -> bool {
    let ours = only.is_none_or(|host| change.host_id == Some(host));
    ours && change.state != JobState::Running
}

/// Looks at the hosts where jobs wait. Returns how many there are.
async fn pass(
    services: &Services,
    only: Option<Uuid>,
    look_for_lost: bool,
) -> Result<usize, DispatchError> {
    let mut waiting = Query::select();
    waiting
        .column(job::Column::HostId)
        .from(job::Entity)
        .and_where(Expr::col(job::Column::Live).eq(1))
        .and_where(Expr::col(job::Column::State).is_in([JobState::Queued, JobState::Retrying]));
    if let Some(host_id) = only {
        waiting.and_where(Expr::col(job::Column::HostId).eq(host_id));
    }
    let paused = Query::select()
        .column(paused_queue::Column::Id)
        .from(paused_queue::Entity)
        .to_owned();
    let hosts = host::Entity::find()
        .filter(host::Column::Id.in_subquery(waiting))
        .filter(host::Column::Id.not_in_subquery(paused))
        .all(services.db.read())
        .await?;
    for host in &hosts {
        dispatch_host(services, host, look_for_lost).await?;
    }
    Ok(hosts.len())
}

async fn dispatch_host(
    services: &Services,
    host: &host::Model,
    look_for_lost: bool,
) -> Result<(), DispatchError> {
    let now = services.clock.now();
    let most = Ord::max(u64::try_from(host.concurrency).unwrap_or(1), 1) * AHEAD;
    // In this order: what somebody else hands out in between is counted, so that no more go ahead than may.
    let mut next = next_in_turn(services, host.id, now, most).await?;
    let out = handed_out(services, host.id, now).await?;
    if look_for_lost {
        let late: Vec<Uuid> = out
            .iter()
            .filter(|job| {
                job.dispatched_at
                    .is_some_and(|at| now.since(at) > DELIVERY_TIME)
            })
            .map(|job| job.id)
            .collect();
        if !late.is_empty() {
            let kept: HashSet<Uuid> = services.queue.holds(&host.name, &late).await?;
            for job in out
                .iter()
                .filter(|job| late.contains(&job.id) && !kept.contains(&job.id))
            {
                let trace_id = trace::id_of(job.traceparent.as_deref(), job.id);
                tracing::info!(job.id = %job.id, job.attempt, trace_id, "the queue lost a job: handing it out again");
                push(services, host, job, now).await?;
            }
        }
    }
    let room = usize::try_from(most).unwrap_or(usize::MAX);
    next.truncate(room.saturating_sub(out.len()));
    for job in &next {
        push(services, host, job, now).await?;
    }
    Ok(())
}

/// The jobs of a host that the queue was given and no worker has claimed.
async fn handed_out(
    services: &Services,
    host_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Waiting>, DbErr> {
    job::Entity::find()
        .select_only()
        .columns(Waiting::COLUMNS)
        .filter(waiting_on(host_id))
        .filter(job::Column::DispatchedAt.is_not_null())
        .filter(job::Column::RunAfter.lte(now))
        .into_model()
        .all(services.db.read())
        .await
}

/// The next jobs of a host in fair order.
async fn next_in_turn(
    services: &Services,
    host_id: Uuid,
    now: Timestamp,
    room: u64,
) -> Result<Vec<Waiting>, DbErr> {
    job::Entity::find()
        .select_only()
        .columns(Waiting::COLUMNS)
        .filter(waiting_on(host_id))
        .filter(job::Column::DispatchedAt.is_null())
        .filter(job::Column::RunAfter.lte(now))
        .filter(Expr::not_exists(order::predecessor()))
        .order_by_asc(job::Column::Turn)
        .order_by_asc(job::Column::Id)
        .limit(room)
        .into_model()
        .all(services.db.read())
        .await
}

fn waiting_on(host_id: Uuid) -> Condition {
    Condition::all()
        .add(job::Column::HostId.eq(host_id))
        .add(job::Column::Live.eq(1))
        .add(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
}

/// Pushes first and notes it after: a crash in between hands a job out twice, which is harmless, rather than never.
async fn push(
    services: &Services,
    host: &host::Model,
    job: &Waiting,
    now: Timestamp,
) -> Result<(), DispatchError> {
    let dispatch = Dispatch {
        job_id: job.id,
        attempt: job.attempt,
        traceparent: job.traceparent.clone(),
    };
    let traceparent = job.traceparent.as_deref();
    let span = trace::dispatch(&host.name, job.id, traceparent);
    let pushing = services.queue.push(&host.name, &dispatch);
    let pushed = pushing.instrument(span.clone()).await;
    pushed.inspect_err(|_| trace::failed(&span, "queue"))?;
    let trace_id = trace::id_of(traceparent, job.id);
    tracing::debug!(job.id = %job.id, job.attempt, trace_id, host = host.name, "handed a job out");
    Ok(note(services, host.id, job.id, now).await?)
}

/// Notes when a waiting job was handed out. It need not wait for the disk: what is forgotten hands a job out twice, and the
/// job's claim would wait for it.
async fn note(
    services: &Services,
    host_id: Uuid,
    job_id: Uuid,
    now: Timestamp,
) -> Result<(), DbErr> {
    // One row at a time: two dispatchers that note several, each in an order of its own, would wait for each other.
    job::Entity::update_many()
        .set(job::ActiveModel {
            dispatched_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(job::Column::Id.eq(job_id))
        // Not one that has failed since, and waits to be tried again.
        .filter(job::Column::RunAfter.lte(services.clock.now()))
        .filter(waiting_on(host_id))
        .exec(services.db.relaxed())
        .await?;
    Ok(())
}
