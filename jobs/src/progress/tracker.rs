//! Follows the layers of one pull.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{LayerProgress, LayerState, PullPhase, PullSnapshot};
use crate::engine::PullEvent;

/// Layers at most: Docker's own limit is 127, and a watcher is not to be flooded.
const MAX_LAYERS: usize = 1000;

/// Characters of the engine's short ids.
const SHORT_ID: usize = 12;

/// The rate is that of about the last three seconds.
const RATE_WINDOW: f64 = 3.0;

/// Rates are measured over at least this long: events come in bursts.
const RATE_STEP: Duration = Duration::from_millis(250);

/// What is known of a pull that runs.
#[derive(Debug)]
pub struct ProgressTracker {
    layers: Vec<LayerProgress>,
    by_short_id: HashMap<String, usize>,
    manifest_known: bool,
    rate: Rate,
    finished: bool,
}

impl ProgressTracker {
    /// A pull of these layers, as (digest, compressed bytes), from the bottom up; empty when they are not known.
    pub fn new(layers: Vec<(String, u64)>) -> Self {
        let mut tracker = Self {
            manifest_known: !layers.is_empty(),
            layers: Vec::new(),
            by_short_id: HashMap::new(),
            rate: Rate::default(),
            finished: false,
        };
        for (digest, size) in layers {
            let short = digest
                .split_once(':')
                .map_or(digest.as_str(), |(_, hex)| hex);
            let short: String = short.chars().take(SHORT_ID).collect();
            tracker.add(short, digest, Some(size));
        }
        tracker
    }

    /// The layer's place; a layer that an image has twice arrives once.
    fn add(&mut self, short: String, id: String, total: Option<u64>) -> Option<usize> {
        if let Some(place) = self.by_short_id.get(&short) {
            return Some(*place);
        }
        if self.layers.len() >= MAX_LAYERS {
            return None;
        }
        self.layers.push(LayerProgress {
            id,
            state: LayerState::Waiting,
            downloaded: 0,
            total,
        });
        self.by_short_id.insert(short, self.layers.len() - 1);
        Some(self.layers.len() - 1)
    }

    /// Takes an event of the engine. Says whether it changed anything that a watcher sees.
    pub fn apply(&mut self, event: &PullEvent, now: Instant) -> bool {
        let Some(state) = state_of(&event.status) else {
            return false;
        };
        let Some(id) = event.id.as_deref() else {
            return false;
        };
        let Some(place) = self.add(id.to_owned(), id.to_owned(), None) else {
            return false;
        };
        let layer = &mut self.layers[place];
        let before = layer.clone();
        let began = layer.state != LayerState::Waiting;
        layer.state = match state {
            // A layer that the engine fetched in this attempt and then says it has is done, not reused.
            LayerState::Reused if began && layer.state != LayerState::Reused => LayerState::Done,
            state => layer.state.max(state),
        };
        if layer.total.is_none() && state == LayerState::Downloading {
            layer.total = event.total.filter(|total| *total > 0);
        }
        match layer.state {
            LayerState::Downloading => {
                let current = event.current.unwrap_or(0);
                layer.downloaded = layer
                    .downloaded
                    .max(layer.total.map_or(current, |total| current.min(total)));
            }
            LayerState::Downloaded | LayerState::Extracting | LayerState::Done => {
                layer.downloaded = layer.total.unwrap_or(layer.downloaded);
            }
            LayerState::Waiting | LayerState::Reused => {}
        }
        let changed = *layer != before;
        self.rate.note(self.downloaded(), now);
        changed
    }

    /// The engine has the whole image.
    pub fn finish(&mut self, now: Instant) {
        self.finished = true;
        for layer in &mut self.layers {
            match layer.state {
                LayerState::Reused => {}
                // The engine never spoke of it: it had the whole image.
                LayerState::Waiting => layer.state = LayerState::Reused,
                _ => {
                    layer.state = LayerState::Done;
                    layer.downloaded = layer.total.unwrap_or(layer.downloaded);
                }
            }
        }
        self.rate.note(self.downloaded(), now);
    }

    /// How it stands.
    pub fn snapshot(&self, now: Instant) -> PullSnapshot {
        let downloaded = self.downloaded();
        let reused = self
            .layers
            .iter()
            .filter(|layer| layer.state == LayerState::Reused)
            .filter_map(|layer| layer.total)
            .sum();
        let total = self.manifest_known.then(|| {
            self.layers
                .iter()
                .filter_map(|layer| layer.total)
                .sum::<u64>()
        });
        let phase = self.phase();
        let rate = (phase == PullPhase::Downloading)
            .then(|| self.rate.per_second(now))
            .flatten();
        let left = total.map(|total: u64| total.saturating_sub(downloaded).saturating_sub(reused));
        PullSnapshot {
            phase,
            downloaded,
            total,
            reused,
            bytes_per_second: rate,
            remaining_seconds: match (rate, left) {
                (Some(rate), Some(left)) if rate > 0 => Some(left.div_ceil(rate)),
                _ => None,
            },
            layers: self.layers.clone(),
        }
    }

    fn downloaded(&self) -> u64 {
        self.layers.iter().map(|layer| layer.downloaded).sum()
    }

    fn phase(&self) -> PullPhase {
        let on_host =
            |layer: &LayerProgress| matches!(layer.state, LayerState::Done | LayerState::Reused);
        if self.finished {
            PullPhase::Settling
        } else if self.layers.is_empty() {
            PullPhase::Resolving
        } else if self
            .layers
            .iter()
            .all(|layer| layer.state >= LayerState::Downloaded)
            && !self.layers.iter().all(on_host)
        {
            PullPhase::Extracting
        } else {
            PullPhase::Downloading
        }
    }
}

/// What the engine's words mean. "Pulling from", "Digest:" and "Status:" are about no layer.
fn state_of(status: &str) -> Option<LayerState> {
    match status {
        "Pulling fs layer" | "Waiting" => Some(LayerState::Waiting),
        "Downloading" => Some(LayerState::Downloading),
        "Verifying Checksum" | "Download complete" => Some(LayerState::Downloaded),
        "Extracting" => Some(LayerState::Extracting),
        "Pull complete" => Some(LayerState::Done),
        "Already exists" => Some(LayerState::Reused),
        _ if status.starts_with("Retrying in") => Some(LayerState::Waiting),
        _ => None,
    }
}

/// A rate that forgets.
#[derive(Debug, Default)]
struct Rate {
    last: Option<(Instant, u64)>,
    smoothed: Option<f64>,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a rate for eyes")]
    fn note(&mut self, bytes: u64, now: Instant) {
        let Some((then, before)) = self.last else {
            self.last = Some((now, bytes));
            return;
        };
        let passed = now.saturating_duration_since(then);
        if passed < RATE_STEP {
            return;
        }
        let seconds = passed.as_secs_f64();
        let rate = bytes.saturating_sub(before) as f64 / seconds;
        let weight = 1.0 - (-seconds / RATE_WINDOW).exp();
        self.smoothed = Some(
            self.smoothed
                .map_or(rate, |old| old + weight * (rate - old)),
        );
        self.last = Some((now, bytes));
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and saturates"
    )]
    fn per_second(&self, _now: Instant) -> Option<u64> {
        self.smoothed.map(|rate| rate as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(id: &str, status: &str, current: Option<u64>, total: Option<u64>) -> PullEvent {
        PullEvent {
            id: Some(id.to_owned()),
            status: status.to_owned(),
            current,
            total,
        }
    }

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    #[test]
    fn a_pull_from_waiting_to_settling() {
        let now = Instant::now();
        let mut tracker = ProgressTracker::new(vec![(digest('a'), 100), (digest('b'), 50)]);
        let (a, b) = ("aaaaaaaaaaaa", "bbbbbbbbbbbb");
        assert!(!tracker.apply(&event("v1", "Pulling from x", None, None), now));
        assert!(tracker.apply(&event(a, "Already exists", None, None), now));
        assert!(tracker.apply(&event(b, "Downloading", Some(20), Some(50)), now));
        let snapshot = tracker.snapshot(now);
        assert_eq!(
            (
                snapshot.phase,
                snapshot.downloaded,
                snapshot.reused,
                snapshot.total
            ),
            (PullPhase::Downloading, 20, 100, Some(150))
        );
        assert!(tracker.apply(&event(b, "Download complete", None, None), now));
        assert_eq!(tracker.snapshot(now).phase, PullPhase::Extracting);
        tracker.finish(now);
        let snapshot = tracker.snapshot(now);
        assert_eq!(
            (snapshot.phase, snapshot.downloaded + snapshot.reused),
            (PullPhase::Settling, 150)
        );
        assert_eq!(snapshot.layers[0].id, digest('a'));
    }

    #[test]
    fn rate_and_remaining_time() {
        let start = Instant::now();
        let mut tracker = ProgressTracker::new(vec![(digest('a'), 10_000)]);
        for second in 0..5u64 {
            tracker.apply(
                &event(
                    "aaaaaaaaaaaa",
                    "Downloading",
                    Some(1000 * second),
                    Some(10_000),
                ),
                start + Duration::from_secs(second),
            );
        }
        let snapshot = tracker.snapshot(start + Duration::from_secs(4));
        assert_eq!(snapshot.bytes_per_second, Some(1000));
        assert_eq!(snapshot.remaining_seconds, Some(6));
    }

    proptest! {
        #[test]
        fn whatever_the_engine_says_the_figures_hold(
            events in proptest::collection::vec(
                (0usize..5, 0usize..9, proptest::option::of(0u64..200), proptest::option::of(0u64..200)), 0..200),
            known in 0usize..4,
        ) {
            let statuses = ["Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete", "Already exists", "Retrying in 5 seconds"];
            let letters = ['a', 'b', 'c', 'd', 'e'];
            let mut tracker = ProgressTracker::new(letters.iter().take(known).map(|l| (digest(*l), 100)).collect());
            let now = Instant::now();
            let mut before = 0;
            for (layer, status, current, total) in events {
                let id: String = std::iter::repeat_n(letters[layer], 12).collect();
                tracker.apply(&event(&id, statuses[status], current, total), now);
                let snapshot = tracker.snapshot(now);
                prop_assert!(snapshot.downloaded >= before);
                before = snapshot.downloaded;
                for layer in &snapshot.layers {
                    prop_assert!(layer.total.is_none_or(|total| layer.downloaded <= total));
                }
            }
            tracker.finish(now);
            let snapshot = tracker.snapshot(now);
            prop_assert!(snapshot.layers.iter().all(|l| matches!(l.state, LayerState::Done | LayerState::Reused)));
            if known == 4 && snapshot.layers.len() == 4 {
                prop_assert_eq!(snapshot.total, Some(snapshot.downloaded + snapshot.reused));
            }
        }
    }
}
