//! Progress of a pull.

use std::sync::Arc;

use async_graphql::{Context, Object, Result, SimpleObject};
use uuid::Uuid;
use wharfinger_entity::JobState;
use wharfinger_jobs::live::progress_event::ProgressEvent;
use wharfinger_jobs::progress;

use super::Job;
use super::image::Missing;
use super::size::List;
use crate::graphql::context::{internal, load};
use crate::graphql::enums::{LayerState, PullPhase};
use crate::graphql::loaders::JobId;
use crate::graphql::scalars::{ByteSize, DateTime, int};

/// The progress of a pull.
pub(crate) struct PullProgress {
    pub(crate) job_id: Uuid,
    pub(crate) frame: Arc<ProgressEvent>,
}

/// The progress of a layer.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct LayerProgress {
    /// The layer's digest, or the engine's short id of it.
    id: String,
    /// The state of the layer.
    state: LayerState,
    /// Compressed bytes fetched.
    downloaded: ByteSize,
    /// Compressed bytes in total; null until known.
    total: Option<ByteSize>,
}

impl From<&progress::LayerProgress> for LayerProgress {
    fn from(layer: &progress::LayerProgress) -> Self {
        Self {
            id: layer.id.clone(),
            state: layer.state.into(),
            downloaded: ByteSize(layer.downloaded),
            total: layer.total.map(ByteSize),
        }
    }
}

/// The progress of a pull. Bytes are compressed ones, as they come over the network.
#[Object]
impl PullProgress {
    /// The job of the pull.
    async fn job(&self, ctx: &Context<'_>) -> Result<Job> {
        let job = load(ctx, Some(JobId(self.job_id))).await?;
        job.ok_or_else(|| internal(&Missing("job")))
    }

    /// Grows by at least one with every event of a job; an event never repeats or goes back.
    async fn sequence(&self) -> i32 {
        self.frame.sequence
    }

    /// The job's state.
    async fn state(&self) -> JobState {
        self.frame.state
    }

    /// The current step of the pull.
    async fn phase(&self) -> PullPhase {
        self.frame.snapshot.phase.into()
    }

    /// The number of the attempt.
    async fn attempt(&self) -> i32 {
        self.frame.attempt
    }

    /// Bytes fetched by this attempt.
    async fn downloaded(&self) -> ByteSize {
        ByteSize(self.frame.snapshot.downloaded)
    }

    /// Bytes in total. Null until the manifest is known.
    async fn total(&self) -> Option<ByteSize> {
        self.frame.snapshot.total.map(ByteSize)
    }

    /// Bytes that the host already had and did not fetch again.
    async fn reused(&self) -> ByteSize {
        ByteSize(self.frame.snapshot.reused)
    }

    /// Bytes fetched a second, over the last seconds; null unless it is downloading.
    async fn bytes_per_second(&self) -> Option<ByteSize> {
        self.frame.snapshot.bytes_per_second.map(ByteSize)
    }

    /// Seconds until everything is downloaded at that rate; null where it cannot be estimated.
    async fn remaining_seconds(&self) -> Option<i32> {
        self.frame.snapshot.remaining_seconds.map(int)
    }

    /// Every layer, the lowest first; empty until the manifest is known.
    async fn layers(&self) -> List<LayerProgress> {
        self.frame
            .snapshot
            .layers
            .iter()
            .map(LayerProgress::from)
            .collect()
    }

    /// The time of this state.
    async fn updated_at(&self) -> DateTime {
        self.frame.updated_at().into()
    }
}
