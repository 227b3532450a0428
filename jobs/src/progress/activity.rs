//! When a pull last moved. Watchers see what was reached, which is never taken back; whether an engine is at work shows in
//! what it says: a layer that is unpacked, or fetched again from its beginning, moves without that a watcher sees it.

use std::collections::HashMap;
use std::time::Instant;

use super::LAYERS_AT_MOST;
use crate::engine::{LayerStep, PullEvent};

/// The engine's last event of each layer, and the time of its last new one.
#[derive(Clone, Debug)]
pub struct Activity {
    moved: Instant,
    steps: HashMap<String, LayerStep>,
}

impl Activity {
    /// Of a pull that begins now.
    pub fn begun(now: Instant) -> Self {
        Self {
            moved: now,
            steps: HashMap::new(),
        }
    }

    /// Takes an event. Says whether the pull moved: the same again, waiting and retrying are no moves.
    pub fn note(&mut self, event: &PullEvent, now: Instant) -> bool {
        let moved = match event {
            PullEvent::Resolved => true,
            PullEvent::Layer { id, step } => self.take(id, *step),
            PullEvent::Digest(_) | PullEvent::Finished | PullEvent::Other(_) => false,
        };
        if moved {
            self.moved = now;
        }
        moved
    }

    /// When it last moved, or began.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Whether every unfinished layer waits for its turn: an engine fetches a few layers at a time (three by default), of all
    /// pulls together. An engine does not say that a turn has come before the first bytes have, so
    /// a layer that hangs then looks the same: `worker.pull_timeout` bounds that.
    pub fn waits_for_its_turn(&self) -> bool {
        let mut waits = false;
        for step in self.steps.values() {
            match step {
                LayerStep::Waiting => waits = true,
                LayerStep::Downloaded | LayerStep::Done | LayerStep::Exists => {}
                _ => return false,
            }
        }
        waits
    }

    fn take(&mut self, id: &str, step: LayerStep) -> bool {
        if self.steps.len() >= LAYERS_AT_MOST && !self.steps.contains_key(id) {
            return false;
        }
        let before = self.steps.insert(id.to_owned(), step);
        let is_idle = matches!(
            step,
            LayerStep::Announced | LayerStep::Waiting | LayerStep::Retrying
        );
        !is_idle && before != Some(step)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn layer(id: &str, step: LayerStep) -> PullEvent {
        let id = id.into();
        PullEvent::Layer { id, step }
    }

    fn downloading(current: u64) -> LayerStep {
        let total = Some(100);
        LayerStep::Downloading { current, total }
    }

    fn extracting(current: u64) -> LayerStep {
        let total = Some(100);
        LayerStep::Extracting { current, total }
    }

    #[test]
    fn only_what_is_new_is_a_move() {
        let mut activity = Activity::begun(Instant::now());
        for (step, moves) in [
            (LayerStep::Announced, false),
            (LayerStep::Waiting, false),
            (downloading(10), true),
            (downloading(10), false),
            (downloading(90), true),
            (LayerStep::Retrying, false),
            // From the beginning again: less than what a watcher has seen.
            (downloading(10), true),
            (downloading(20), true),
            (LayerStep::Downloaded, true),
            (extracting(1), true),
            (extracting(1), false),
            (extracting(2), true),
            (LayerStep::Done, true),
            (LayerStep::Done, false),
        ] {
            let now = activity.moved() + Duration::from_secs(1);
            assert_eq!(activity.note(&layer("a", step), now), moves, "{step:?}");
            assert_eq!(activity.moved() == now, moves, "{step:?}");
        }
    }

    #[test]
    fn a_pull_waits_for_its_turn_while_none_of_its_layers_is_at_work() {
        let now = Instant::now();
        let mut activity = Activity::begun(now);
        let mut waits = |id, step| {
            activity.note(&layer(id, step), now);
            activity.waits_for_its_turn()
        };
        assert!(!waits("a", LayerStep::Announced));
        assert!(waits("a", LayerStep::Waiting));
        assert!(!waits("b", LayerStep::Announced));
        assert!(!waits("b", downloading(1)));
        assert!(waits("b", LayerStep::Downloaded));
        assert!(!waits("a", downloading(1)));
        assert!(!waits("a", LayerStep::Downloaded));
        assert!(!waits("a", extracting(1)));
    }
}
