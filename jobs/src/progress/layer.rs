//! One layer of a pull.

use super::{LayerProgress, LayerState};
use crate::engine::LayerStep;

/// Where a layer is, and how many of its bytes came from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) id: String,
    pub(super) state: LayerState,
    /// From the manifest, or else from the engine.
    size: Option<u64>,
    pub(super) downloaded: u64,
    pub(super) reused: u64,
}

impl Layer {
    pub(super) fn new(id: String, size: Option<u64>) -> Self {
        Self {
            id,
            state: LayerState::Waiting,
            size,
            downloaded: 0,
            reused: 0,
        }
    }

    /// Bytes in all, as far as known: never less than what has arrived.
    pub(super) fn total(&self) -> u64 {
        self.size.unwrap_or(self.downloaded)
    }

    pub(super) fn is_fetched(&self) -> bool {
        self.state >= LayerState::Downloaded
    }

    /// The engine may tell of a layer in any order, and again: what was reached is never taken back.
    pub(super) fn take(&mut self, step: LayerStep) {
        if self.state >= LayerState::Done {
            return;
        }
        match step {
            LayerStep::Announced | LayerStep::Waiting | LayerStep::Retrying => {}
            LayerStep::Downloading { current, total } => {
                self.size = self.size.or(total.map(|total| total.max(self.downloaded)));
                self.state = self.state.max(LayerState::Downloading);
                // After a retry the engine counts from zero again, of what is left.
                if self.state == LayerState::Downloading {
                    let arrived = self.size.map_or(current, |size| current.min(size));
                    self.downloaded = self.downloaded.max(arrived);
                }
            }
            LayerStep::Downloaded => self.fetched(LayerState::Downloaded),
            LayerStep::Extracting { .. } => self.fetched(LayerState::Extracting),
            LayerStep::Done => self.fetched(LayerState::Done),
            LayerStep::Exists => self.found(),
        }
    }

    /// The engine has the whole image, and with it this layer.
    pub(super) fn finish(&mut self) {
        match self.state {
            LayerState::Waiting => self.found(),
            LayerState::Downloading | LayerState::Downloaded | LayerState::Extracting => {
                self.fetched(LayerState::Done);
            }
            LayerState::Done | LayerState::Reused => {}
        }
    }

    fn fetched(&mut self, state: LayerState) {
        self.downloaded = self.total();
        self.size = Some(self.downloaded);
        self.state = self.state.max(state);
    }

    /// The host has it. What was fetched of it by then was fetched.
    fn found(&mut self) {
        self.reused = self.total() - self.downloaded;
        self.state = if self.downloaded == 0 {
            LayerState::Reused
        } else {
            LayerState::Done
        };
    }

    pub(super) fn progress(&self) -> LayerProgress {
        LayerProgress {
            id: self.id.clone(),
            state: self.state,
            downloaded: self.downloaded,
            total: self.size,
        }
    }
}
