//! The subscriptions: progress of a pull, changes of jobs, credits.

use std::time::Duration;

use async_graphql::{Context, ID, Result, Subscription as GraphQlSubscription};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use uuid::Uuid;
use wharfinger_entity::{JobKind, Timestamp, job};
use wharfinger_jobs::infra::db::DbErr;
use wharfinger_jobs::live::events::{Event, EventStream, Topic};
use wharfinger_jobs::live::notify::Change;
use wharfinger_jobs::queries::{self, Viewer};
use wharfinger_jobs::services::Services;

use super::context::{Gateway, administrator, caller, coded, internal, load, services, viewer};
use super::ids::Kind;
use super::loaders::JobId;
use super::types::{Balance, Job, PullProgress};
use crate::http::{CurrentEventId, ErrorCode};

/// How far before the last event changes are looked for after a gap, because clocks differ a little. A change in that time is
/// sent twice.
const OVERLAP: Duration = Duration::from_secs(5);

/// The first pause before the database is asked again after it did not answer. Each further one is twice as long, up to half
/// of [`RESYNC`], and up to twice that at random.
const AGAIN: Duration = Duration::from_secs(1);

/// How often credits are read without an event: one is lost with a process that is killed before it publishes it. Up to half
/// as much longer at random, so that subscribers who came at once do not all read at once.
const RESYNC: Duration = Duration::from_secs(30);

/// Everything that can be watched.
pub struct Subscription;

/// Everything that can be watched.
#[GraphQlSubscription]
impl Subscription {
    /// The current state of a pull at once, then every change until the job ends; then it completes.
    async fn pull_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job that pulls.")] job_id: ID,
    ) -> Result<impl Stream<Item = PullProgress> + use<>> {
        let unknown = || {
            coded(
                ErrorCode::BadRequest,
                "you have no such pull: `jobs` lists yours",
            )
        };
        let job = load(ctx, Kind::Job.parse(&job_id).map(JobId)).await?;
        let job = job.filter(|Job(job)| job.kind == JobKind::PullImage);
        let Job(job) = job.ok_or_else(unknown)?;
        let gateway = ctx.data_unchecked::<Gateway>();
        let frames = gateway.watches.follow(&gateway.services, job.id);
        let event_id: Option<CurrentEventId> = ctx.data_opt().cloned();
        Ok(frames.map(move |frame| {
            if let Some(event_id) = &event_id {
                event_id.note(frame.sequence, frame.state.is_final());
            }
            PullProgress {
                job_id: job.id,
                frame,
            }
        }))
    }

    /// Every change of state of the viewer's jobs (of every job for an administrator who asks for all).
    async fn job_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Every user's jobs: administrators only.", default = false)] all: bool,
    ) -> Result<impl Stream<Item = Result<Job>> + use<>> {
        let (topic, viewer) = if all {
            administrator(ctx)?;
            (Topic::AllJobs, viewer(ctx)?)
        } else {
            // An administrator too sees no other user's jobs here, also where the database is asked what has changed.
            let user_id = caller(ctx)?.user.id;
            (Topic::UserJobs(user_id), Viewer::user(user_id))
        };
        let services = services(ctx).clone();
        let changed = ChangedJobs {
            changes: services.events.subscribe(topic),
            since: services.clock.now(),
            again: None,
            viewer,
            services,
        };
        let changes = stream::unfold(changed, |mut jobs| async move {
            let changed = jobs.next().await?;
            Some((stream::iter(changed), jobs))
        });
        Ok(changes.flatten())
    }

    /// The viewer's credits now, then after every change.
    async fn balance_changed(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = Result<Balance>> + use<>> {
        let user_id = caller(ctx)?.user.id;
        let services = services(ctx).clone();
        let balances = Balances {
            // Listening begins before the first read: a change in between is sent, not missed.
            changes: services.events.subscribe(Topic::Balance(user_id)),
            sent: None,
            again: None,
            user_id,
            services,
        };
        Ok(stream::unfold(balances, |mut balances| async move {
            let balance = balances.next().await?;
            Some((balance, balances))
        }))
    }
}

/// The jobs that events are about. Where some may have been missed, those that the database says have changed since.
struct ChangedJobs {
    services: Services,
    viewer: Viewer,
    changes: EventStream,
    /// Every change before this has been sent, or is still among the events.
    since: Timestamp,
    /// Set while the database does not answer: its changes are still to be sent.
    again: Option<ExponentialBackoff>,
}

impl ChangedJobs {
    /// The jobs to send at the next event. That the database does not answer is sent once.
    async fn next(&mut self) -> Option<Vec<Result<Job>>> {
        let event = if let Some(waits) = &mut self.again {
            wait(waits, &mut self.changes).await;
            Event::Gap
        } else {
            self.changes.next().await?
        };
        let (gap, now) = (matches!(event, Event::Gap), self.services.clock.now());
        Some(match self.services.db.answer(self.look(event)).await {
            Ok(jobs) => {
                self.again = None;
                // An event may have waited long: what came after it, and gets lost, ended after its job.
                let ended = jobs.iter().filter_map(|job| job.finished_at).max();
                let until = if gap { Some(now) } else { ended };
                if let Some(until) = until {
                    self.since = self.since.max(until.before(OVERLAP));
                }
                jobs.into_iter().map(|job| Ok(Job(job))).collect()
            }
            Err(_) if self.again.is_some() => Vec::new(),
            Err(error) => {
                self.again = Some(waits());
                vec![Err(internal(&error))]
            }
        })
    }

    async fn look(&self, event: Event) -> Result<Vec<job::Model>, DbErr> {
        let db = &self.services.db;
        match event {
            Event::Message(payload) => match serde_json::from_slice::<Change>(&payload) {
                Ok(change) => queries::jobs::by_ids(db, self.viewer, &[change.job_id]).await,
                // A question to workers, which is no change.
                Err(_) => Ok(Vec::new()),
            },
            Event::Gap => queries::jobs::changed_since(db, self.viewer, self.since).await,
        }
    }
}

/// A user's credits, read when they may have changed.
struct Balances {
    services: Services,
    user_id: Uuid,
    changes: EventStream,
    sent: Option<Balance>,
    /// Set while the database does not answer.
    again: Option<ExponentialBackoff>,
}

impl Balances {
    /// The credits now, then each time they differ from those sent last. That the database does not answer is sent once.
    async fn next(&mut self) -> Option<Result<Balance>> {
        loop {
            if let Some(waits) = &mut self.again {
                wait(waits, &mut self.changes).await;
            } else if self.sent.is_some() {
                let longest = RESYNC.mul_f64(rand::random_range(1.0..1.5));
                // Without one for so long, one may have been missed.
                if let Ok(event) = tokio::time::timeout(longest, self.changes.next()).await {
                    event?;
                }
            }
            match self.services.db.answer(self.look()).await {
                Ok(balance) => {
                    self.again = None;
                    if self.sent.replace(balance) != Some(balance) {
                        return Some(Ok(balance));
                    }
                }
                Err(_) if self.again.is_some() => {}
                Err(error) => {
                    // After an error the credits are sent again.
                    (self.again, self.sent) = (Some(waits()), None);
                    return Some(Err(internal(&error)));
                }
            }
        }
    }

    async fn look(&self) -> Result<Balance, DbErr> {
        let viewer = Viewer::user(self.user_id);
        let users = queries::users::by_ids(&self.services.db, viewer, &[self.user_id]).await?;
        let user = users.first();
        let user = user.ok_or_else(|| DbErr::RecordNotFound("the user is gone".into()))?;
        Ok(wharfinger_jobs::ledger::Balance::from(user).into())
    }
}

/// The pauses while the database does not answer.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(AGAIN)
        .with_max_delay(RESYNC / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Waits. Events that come meanwhile are dropped: the read after it covers them.
async fn wait(waits: &mut ExponentialBackoff, changes: &mut EventStream) {
    let longest = waits.next().unwrap_or(RESYNC);
    tokio::time::sleep(longest).await;
    while let Some(Some(_seen)) = changes.next().now_or_never() {}
}
