//! Pulls that run in the database, and their progress as a worker tells it.

use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseConnection, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, sea_query::Expr,
};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobKind, JobState, Timestamp, job, user};
use wharfinger_jobs::live::events::Events;
use wharfinger_jobs::live::notify;
use wharfinger_jobs::live::progress_event::ProgressEvent;
use wharfinger_jobs::progress::{LayerProgress, LayerState, PullPhase, PullSnapshot};

use crate::Outcome;

/// Far away: nobody else takes these jobs over.
const FOR_EVER: i64 = 4_000_000_000_000_000;

/// Bytes of each layer.
const LAYER: u64 = 1 << 30;

/// One of them.
#[derive(Clone)]
pub(crate) struct Pull {
    pub(crate) job: job::Model,
}

impl Pull {
    /// A pull of this user, of which they have one for each ordinal, that runs on a worker that is not there.
    pub(crate) async fn running(
        database: &DatabaseConnection,
        owner: &str,
        ordinal: i64,
    ) -> Outcome<Self> {
        let owner = user::Entity::find()
            .filter(user::Column::Name.eq(owner))
            .one(database)
            .await?
            .ok_or("no such user")?;
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let id = Uuid::now_v7();
        let job = job::Model {
            id,
            kind: JobKind::PullImage,
            state: JobState::Running,
            user_id: owner.id,
            host_id: None,
            host_named: false,
            reference: format!("docker.io/library/{}:1", id.simple()),
            image_id: None,
            engine_image_id: None,
            held: Credits::ZERO,
            attempt: 1,
            max_attempts: 5,
            ordinal,
            turn: 1,
            run_after: now,
            dispatched_at: Some(now),
            push: 1,
            worker: Some("bench".to_owned()),
            lease_until: Some(Timestamp::from_micros(FOR_EVER)),
            cancel_requested: false,
            touched_engine: false,
            sequence: 1,
            progress: None,
            error_code: None,
            error_message: None,
            error_retryable: None,
            rate_limited_since: None,
            free_in_a_row: 0,
            redrive_refused_at: None,
            traceparent: None,
            created_at: now,
            accepted_at: now,
            started_at: Some(now),
            finished_at: None,
            discarded_at: None,
            live: Some(1),
            removal_of: None,
        };
        let job = job.into_active_model().reset_all().insert(database).await?;
        Ok(Self { job })
    }

    /// The id as clients write it.
    pub(crate) fn id(&self) -> String {
        format!("job_{}", self.job.id.simple())
    }

    /// Tells how far it is, as a worker does.
    pub(crate) fn progress(&self, events: &Events, sequence: u32) {
        let downloaded = u64::from(sequence) * 1_000_003;
        let layer = |number: u64| LayerProgress {
            id: format!("sha256:{number:012}"),
            state: LayerState::Downloading,
            downloaded: downloaded / 3,
            total: Some(LAYER),
        };
        let frame = ProgressEvent {
            sequence: i32::try_from(sequence).unwrap_or(i32::MAX),
            state: JobState::Running,
            attempt: 1,
            snapshot: PullSnapshot {
                phase: PullPhase::Downloading,
                downloaded,
                total: Some(3 * LAYER),
                bytes_per_second: Some(4_000_012),
                remaining_seconds: Some(800),
                layers: (0..3).map(layer).collect(),
                ..PullSnapshot::default()
            },
            updated_at: 1_700_000_000_000_000 + i64::from(sequence),
        };
        notify::progress(events, self.job.id, &frame);
    }

    /// Ends it: committed first, told then.
    pub(crate) async fn succeed(
        &self,
        database: &DatabaseConnection,
        events: &Events,
        sequence: u32,
    ) -> Outcome {
        let mut job = self.job.clone();
        job.state = JobState::Succeeded;
        job.sequence = i32::try_from(sequence)?;
        job.finished_at = Some(Timestamp::from_micros(1_700_000_001_000_000));
        job::Entity::update_many()
            .col_expr(job::Column::State, Expr::value(job.state))
            .col_expr(job::Column::Sequence, Expr::value(job.sequence))
            .col_expr(job::Column::FinishedAt, Expr::value(job.finished_at))
            .col_expr(job::Column::Live, Expr::value(None::<i16>))
            .filter(job::Column::Id.eq(job.id))
            .exec(database)
            .await?;
        notify::progress(events, job.id, &ProgressEvent::of(&job));
        Ok(())
    }
}
