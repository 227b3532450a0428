//! What can be watched.

use std::time::Duration;

use async_graphql::{Context, ID, Result, Subscription as GraphQlSubscription};
use futures::{Stream, StreamExt as _};
use uuid::Uuid;
use wharfinger_entity::{JobKind, Timestamp};
use wharfinger_jobs::announce::Change;
use wharfinger_jobs::events::{Event, EventStream, Topic};
use wharfinger_jobs::queries::{self, Viewer};
use wharfinger_jobs::services::Services;

use super::context::{
    Gateway, administrator, caller, coded, database, internal, loaders, services, viewer,
};
use super::ids::Kind;
use super::loaders::JobId;
use super::types::{Balance, Job, PullProgress};
use crate::http::{ErrorCode, EventIds};

/// How far before the last event is looked for changes after a gap: clocks differ a little. What changed then is told twice.
const OVERLAP: Duration = Duration::from_secs(5);

/// What can be watched.
pub struct Subscription;

/// What can be watched.
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
        let loaders = loaders(ctx)?;
        let id = Kind::Job.parse(&job_id).ok_or_else(unknown)?;
        let job = loaders
            .load_one(JobId(id))
            .await
            .map_err(|error| internal(&*error))?;
        job.filter(|job| job.kind == JobKind::PullImage)
            .ok_or_else(unknown)?;
        let gateway = ctx.data_unchecked::<Gateway>();
        let frames = gateway.watches.follow(&gateway.services, id);
        let ids: Option<EventIds> = ctx.data_opt().cloned();
        Ok(frames.map(move |frame| {
            if let Some(ids) = &ids {
                ids.note(frame.sequence, frame.state.is_final());
            }
            PullProgress::new(id, frame)
        }))
    }

    /// Every change of state of the viewer's jobs (of every job for an administrator who asks for all).
    async fn job_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Every user's jobs: administrators only.", default = false)] all: bool,
    ) -> Result<impl Stream<Item = Result<Job>> + use<>> {
        if all {
            administrator(ctx)?;
        }
        let viewer = viewer(ctx)?;
        let services = services(ctx).clone();
        let topic = if all {
            Topic::AllJobs
        } else {
            Topic::UserJobs(viewer.user_id)
        };
        let changes = services.events.subscribe(topic);
        let since = services.clock.now();
        Ok(changed_jobs(services, viewer, changes, since))
    }

    /// The viewer's credits now, then after every change.
    async fn balance_changed(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = Result<Balance>> + use<>> {
        let user_id = caller(ctx)?.user.id;
        let services = services(ctx).clone();
        // Listening begins before the first look: a change in between is told, not missed.
        let changes = services.events.subscribe(Topic::Balance(user_id));
        let looks = futures::stream::once(std::future::ready(())).chain(changes.map(|_| ()));
        let balances = looks.then(move |()| {
            let services = services.clone();
            async move { balance(&services, user_id).await }
        });
        Ok(balances
            .scan(None, |last, balance| {
                let told = match balance {
                    Ok(balance) if *last == Some(balance) => None,
                    Ok(balance) => {
                        *last = Some(balance);
                        Some(Ok(balance))
                    }
                    Err(error) => Some(Err(error)),
                };
                std::future::ready(Some(told))
            })
            .filter_map(std::future::ready))
    }
}

/// The jobs that events tell of. Where some may have been missed, those that the database says have changed since.
fn changed_jobs(
    services: Services,
    viewer: Viewer,
    changes: EventStream,
    since: Timestamp,
) -> impl Stream<Item = Result<Job>> {
    let told = futures::stream::unfold((changes, since), move |(mut changes, since)| {
        let services = services.clone();
        async move {
            let event = changes.next().await?;
            let now = services.clock.now();
            let jobs = match event {
                Event::Message(payload) => match serde_json::from_slice::<Change>(&payload) {
                    Ok(change) => {
                        queries::jobs::by_ids(&services.db, viewer, &[change.job_id]).await
                    }
                    // A question to workers, which is no change.
                    Err(_) => Ok(Vec::new()),
                },
                Event::Gap => queries::jobs::changed_since(&services.db, viewer, since).await,
            };
            let since = since.max(now.before(OVERLAP));
            Some((jobs, (changes, since)))
        }
    });
    told.flat_map(|jobs| {
        let jobs = match jobs {
            Ok(jobs) => jobs.into_iter().map(|job| Ok(Job(job))).collect(),
            Err(error) => vec![Err(database(&error))],
        };
        futures::stream::iter(jobs)
    })
}

async fn balance(services: &Services, user_id: Uuid) -> Result<Balance> {
    let viewer = Viewer::user(user_id);
    let users = queries::users::by_ids(&services.db, viewer, &[user_id])
        .await
        .map_err(|error| database(&error))?;
    let user = users
        .first()
        .ok_or_else(|| coded(ErrorCode::Unauthenticated, "the user is gone"))?;
    Ok(wharfinger_jobs::credits::Balance::from(user).into())
}
