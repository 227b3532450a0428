//! Progress of a pull.

use std::sync::Arc;

use async_graphql::{Context, Object, Result, SimpleObject};
use uuid::Uuid;
use wharfinger_jobs::live::progress_event::ProgressEvent;
use wharfinger_jobs::progress;

use super::Job;
use super::image::Missing;
use super::size::List;
use crate::graphql::context::{internal, loaders};
use crate::graphql::enums::{JobState, LayerState, PullPhase};
use crate::graphql::loaders::JobId;
use crate::graphql::scalars::{ByteSize, DateTime};

/// How far a pull is.
pub(crate) struct PullProgress {
    job_id: Uuid,
    frame: Arc<ProgressEvent>,
}

impl PullProgress {
    /// The state of a job's pull at one instant.
    pub(crate) fn new(job_id: Uuid, frame: Arc<ProgressEvent>) -> Self {
        Self { job_id, frame }
    }
}

/// How far a layer is.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct LayerProgress {
    /// The layer's digest, or the engine's short id of it.
    id: String,
    /// Where it is.
    state: LayerState,
    /// Bytes fetched, as they come over the network.
    downloaded: ByteSize,
    /// Bytes in all, as they come over the network; null until known.
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

/// How far a pull is. Bytes are compressed ones, as they come over the network.
#[Object]
impl PullProgress {
    /// The pull.
    async fn job(&self, ctx: &Context<'_>) -> Result<Job> {
        let job = loaders(ctx)?
            .load_one(JobId(self.job_id))
            .await
            .map_err(|error| internal(&*error))?;
        job.map(Job).ok_or_else(|| internal(&Missing("job")))
    }

    /// Grows by at least one with every event of a job; an event never repeats or goes back.
    async fn sequence(&self) -> i32 {
        self.frame.sequence
    }

    /// The job's state.
    async fn state(&self) -> JobState {
        self.frame.state.into()
    }

    /// What the pull is busy with.
    async fn phase(&self) -> PullPhase {
        self.frame.snapshot.phase.into()
    }

    /// Which try.
    async fn attempt(&self) -> i32 {
        self.frame.attempt
    }

    /// Bytes fetched by this try.
    async fn downloaded(&self) -> ByteSize {
        ByteSize(self.frame.snapshot.downloaded)
    }

    /// Bytes in all. Null until the manifest is known.
    async fn total(&self) -> Option<ByteSize> {
        self.frame.snapshot.total.map(ByteSize)
    }

    /// Bytes that the host already had and did not fetch again.
    async fn reused(&self) -> ByteSize {
        ByteSize(self.frame.snapshot.reused)
    }

    /// Rate of the last seconds; null unless it is downloading.
    async fn bytes_per_second(&self) -> Option<ByteSize> {
        self.frame.snapshot.bytes_per_second.map(ByteSize)
    }

    /// Seconds until everything is downloaded at that rate; null where that cannot be said.
    async fn remaining_seconds(&self) -> Option<i32> {
        self.frame
            .snapshot
            .remaining_seconds
            .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX))
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

    /// When this was the state.
    async fn updated_at(&self) -> DateTime {
        self.frame.updated_at().into()
    }
}
