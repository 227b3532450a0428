//! Progress of a pull: from the manifest and the engine's events to what watchers see.
//!
//! A [`ProgressTracker`] takes the events and gives [`PullSnapshot`]s; a [`Coalescer`] says when the next of them may be
//! told; an [`Activity`] says when the engine last did anything. None of them looks at a clock: the time is passed in.

mod activity;
mod coalescer;
mod layer;
mod rate;
mod tracker;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use activity::Activity;
pub use coalescer::Coalescer;
pub use tracker::{LAYERS_AT_MOST, ProgressTracker};

/// The phase of a pull. Within an attempt it only moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PullPhase {
    /// Waiting for a worker, or for another try.
    #[default]
    Waiting,
    /// Reading the manifest.
    Resolving,
    /// Fetching layers.
    Downloading,
    /// Unpacking layers; all are fetched.
    Extracting,
    /// Recording the image and its charge; the engine has it whole.
    Settling,
    /// Nothing: the job has ended.
    Done,
}

/// Where a layer is. Within an attempt it only moves on.
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
    /// On the host, which had it already.
    Reused,
}

/// A layer's progress. Bytes are compressed ones, as they come over the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerProgress {
    /// The layer's digest, or the engine's short id of it where the manifest is not known.
    pub id: String,
    /// Where it is.
    pub state: LayerState,
    /// Bytes fetched.
    pub downloaded: u64,
    /// Bytes in all, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// The progress of a pull at one instant. Bytes are compressed ones, as they come over the network.
///
/// The sender adds the job, the attempt, the sequence number and the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullSnapshot {
    /// The phase.
    pub phase: PullPhase,
    /// Bytes fetched. Never less than before within an attempt.
    pub downloaded: u64,
    /// Bytes in all; none until the manifest is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes that the host had already and did not fetch again.
    pub reused: u64,
    /// Rate of the last seconds, while it downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the download at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// The layers from the bottom up, at most [`LAYERS_AT_MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerProgress>,
}

impl PullSnapshot {
    /// The same, where the worker has fetched these layers, by their digests, before the engine was asked.
    #[must_use]
    pub(crate) fn with_fetched(mut self, fetched: &HashSet<String>) -> Self {
        for layer in &mut self.layers {
            let missing = layer.total.unwrap_or(0).saturating_sub(layer.downloaded);
            if !fetched.contains(&layer.id) || missing == 0 {
                continue;
            }
            layer.downloaded += missing;
            self.downloaded += missing;
            if layer.state == LayerState::Reused {
                self.reused = self.reused.saturating_sub(missing);
                layer.state = LayerState::Done;
            }
            layer.state = layer.state.max(LayerState::Downloaded);
        }
        self
    }
}
