//! Follows one attempt to pull an image.

use std::collections::HashMap;
use std::time::Instant;

use super::layer::Layer;
use super::rate::Rate;
use super::{LayerState, PullPhase, PullSnapshot};
use crate::engine::{LayerStep, PullEvent};

/// Layers told at most. Docker's own limit is 127; this one is for manifests and engines that mean harm.
pub const LAYERS_AT_MOST: usize = 1000;

/// Digits of the engine's short ids.
const SHORT_ID: usize = 12;

/// The state of an attempt to pull, made from the manifest and the engine's events.
#[derive(Clone, Debug)]
pub struct ProgressTracker {
    layers: Vec<Layer>,
    by_short_id: HashMap<String, usize>,
    is_manifest_known: bool,
    phase: PullPhase,
    rate: Rate,
}

impl ProgressTracker {
    /// An attempt to pull these layers, as (digest, compressed bytes) from the bottom up; none where the manifest is not
    /// known. A layer that an image has twice is fetched, and counted, once.
    pub fn new(layers: Vec<(String, u64)>) -> Self {
        let mut tracker = Self {
            layers: Vec::with_capacity(layers.len()),
            by_short_id: HashMap::with_capacity(layers.len()),
            is_manifest_known: !layers.is_empty(),
            phase: PullPhase::Resolving,
            rate: Rate::default(),
        };
        for (digest, size) in layers {
            let hex = digest.split_once(':').map_or(&*digest, |(_, hex)| hex);
            let short_id = hex.chars().take(SHORT_ID).collect();
            tracker.add(short_id, Layer::new(digest, Some(size)));
        }
        tracker
    }

    /// Takes an event of the engine. Says whether it changed anything that a watcher sees.
    pub fn apply(&mut self, event: &PullEvent, now: Instant) -> bool {
        let before = self.phase;
        let changed = match event {
            PullEvent::Resolved => {
                self.enter(PullPhase::Downloading);
                false
            }
            PullEvent::Layer { id, step } => self.take(id, *step),
            PullEvent::Finished => {
                self.finish(now);
                false
            }
            PullEvent::Digest(_) | PullEvent::Other(_) => false,
        };
        if self.phase == PullPhase::Downloading {
            self.rate.note(self.downloaded(), now);
        }
        changed || self.phase != before
    }

    /// The engine has the whole image: every layer is on the host, and those that it never spoke of were before.
    pub fn finish(&mut self, now: Instant) {
        self.rate.note(self.downloaded(), now);
        for layer in &mut self.layers {
            layer.finish();
        }
        self.enter(PullPhase::Settling);
    }

    /// How it stands.
    pub fn snapshot(&self, now: Instant) -> PullSnapshot {
        let downloaded = self.downloaded();
        let reused = self.sum(|layer| layer.reused);
        let total = self.is_manifest_known.then(|| self.sum(Layer::total));
        let rate = (self.phase == PullPhase::Downloading)
            .then(|| self.rate.per_second(downloaded, now))
            .flatten();
        let left = total.map(|total| total.saturating_sub(downloaded.saturating_add(reused)));
        let remaining = rate
            .filter(|rate| *rate > 0)
            .zip(left)
            .map(|(rate, left)| left.div_ceil(rate).min(SECONDS_AT_MOST));
        PullSnapshot {
            phase: self.phase,
            downloaded,
            total,
            reused,
            bytes_per_second: rate,
            remaining_seconds: remaining,
            layers: self
                .layers
                .iter()
                .take(LAYERS_AT_MOST)
                .map(Layer::progress)
                .collect(),
        }
    }

    fn take(&mut self, id: &str, step: LayerStep) -> bool {
        if self.phase >= PullPhase::Settling {
            return false;
        }
        let short_id: String = id.chars().take(SHORT_ID).collect();
        let known = self.by_short_id.get(&short_id).copied();
        let place = match known {
            Some(place) => place,
            None if self.welcomes(step) => self.add(short_id, Layer::new(id.to_owned(), None)),
            None => return false,
        };
        let layer = &mut self.layers[place];
        let before = layer.clone();
        layer.take(step);
        let changed = known.is_none() || *layer != before;
        self.enter(PullPhase::Downloading);
        // The engine unpacks the lower layers while it fetches the upper ones.
        let is_extracting = |layer: &Layer| layer.state == LayerState::Extracting;
        if self.layers.iter().all(Layer::is_fetched) && self.layers.iter().any(is_extracting) {
            self.enter(PullPhase::Extracting);
        }
        changed
    }

    /// A layer that the manifest does not have is one of another manifest, to which the tag moved since. With containerd's
    /// image store the engine also tells of configurations and attestations, but announces only layers.
    fn welcomes(&self, step: LayerStep) -> bool {
        let is_announced = !self.is_manifest_known || step == LayerStep::Announced;
        is_announced && self.layers.len() < LAYERS_AT_MOST
    }

    fn add(&mut self, short_id: String, layer: Layer) -> usize {
        let next = self.layers.len();
        let place = *self.by_short_id.entry(short_id).or_insert(next);
        if place == next {
            self.layers.push(layer);
        }
        place
    }

    fn enter(&mut self, phase: PullPhase) {
        self.phase = self.phase.max(phase);
    }

    fn downloaded(&self) -> u64 {
        self.sum(|layer| layer.downloaded)
    }

    fn sum(&self, of: impl Fn(&Layer) -> u64) -> u64 {
        self.layers.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// GraphQL's `Int` has 32 bits.
const SECONDS_AT_MOST: u64 = i32::MAX as u64;

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
