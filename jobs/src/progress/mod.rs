//! Progress of a pull: from the manifest and the engine's events to what watchers see.

mod coalescer;
mod tracker;

use serde::{Deserialize, Serialize};

pub use coalescer::Coalescer;
pub use tracker::ProgressTracker;

/// What a pull is busy with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PullPhase {
    /// For a worker, or for another try.
    #[default]
    Waiting,
    /// Reading the manifest.
    Resolving,
    /// Fetching layers.
    Downloading,
    /// Unpacking layers; all are fetched.
    Extracting,
    /// Recording the image and its charge.
    Settling,
    /// Nothing: the job has ended.
    Done,
}

/// Where a layer is. A later state is never followed by an earlier one within an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LayerState {
    /// Not begun.
    #[default]
    Waiting,
    /// Being fetched.
    Downloading,
    /// Fetched, and waiting to be unpacked.
    Downloaded,
    /// Being unpacked.
    Extracting,
    /// On the host.
    Done,
    /// The host had it already.
    Reused,
}

/// A layer's progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerProgress {
    /// The layer's digest, or the engine's short id of it.
    pub id: String,
    /// Where it is.
    pub state: LayerState,
    /// Bytes fetched.
    pub downloaded: u64,
    /// Bytes in all, once known.
    pub total: Option<u64>,
}

/// The progress of a pull at one instant. Bytes are compressed ones, as they come over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullSnapshot {
    /// What it is busy with.
    pub phase: PullPhase,
    /// Bytes fetched.
    pub downloaded: u64,
    /// Bytes in all; none until the manifest is known.
    pub total: Option<u64>,
    /// Bytes that the host had already.
    pub reused: u64,
    /// Rate of the last seconds.
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the download at that rate.
    pub remaining_seconds: Option<u64>,
    /// Every layer, from the bottom up.
    pub layers: Vec<LayerProgress>,
}
