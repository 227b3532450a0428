//! One event of a job's progress, as it travels to watchers and is saved with the job.

use serde::{Deserialize, Serialize};
use wharfinger_entity::{JobState, Timestamp, job};

use crate::progress::{PullPhase, PullSnapshot};

/// Sequence numbers that a claim reserves, so that it repeats no number of an event that a vanished worker sent but did not
/// save. A worker saves its own at every renewal of its lease and uses less than this many between two of them.
const SEQUENCE_RESERVE: i32 = 1_000;

/// The first sequence number behind the reserve of the number that was saved last: what a claim, and the end of a running
/// attempt, go on from.
pub(crate) fn next_reserved(saved: i32) -> i32 {
    saved.saturating_add(SEQUENCE_RESERVE)
}

/// Whether an event of this number may be sent when `saved` is the number that was saved last. The worker that takes the job
/// over would send a number behind the reserve again, with other content.
pub(crate) fn is_within_reserve(saved: i32, sequence: i32) -> bool {
    sequence < next_reserved(saved)
}

/// The state of a pull at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgressEvent {
    /// Grows with every event of the job.
    pub sequence: i32,
    /// The job's state.
    pub state: JobState,
    /// The attempt.
    pub attempt: i32,
    /// The progress.
    pub snapshot: PullSnapshot,
    /// The time of the event, in microseconds since the epoch.
    pub updated_at: i64,
}

impl ProgressEvent {
    /// The job's last saved progress, in the state that it is in now.
    pub fn of(job: &job::Model) -> Self {
        let saved = job
            .progress
            .as_ref()
            .and_then(|saved| serde_json::from_value::<Self>(saved.clone()).ok());
        let instants = [job.finished_at, job.started_at, Some(job.accepted_at)];
        let changed = instants.into_iter().flatten().map(Timestamp::micros).max();
        let (mut snapshot, saved_at) =
            saved.map_or_else(Default::default, |saved| (saved.snapshot, saved.updated_at));
        match job.state {
            state if state.is_final() => snapshot.phase = PullPhase::Done,
            JobState::Queued | JobState::Retrying => snapshot.phase = PullPhase::Waiting,
            _ => {}
        }
        Self {
            sequence: job.sequence,
            state: job.state,
            attempt: job.attempt,
            snapshot,
            updated_at: saved_at.max(changed.unwrap_or_default()),
        }
    }

    /// When this was the state.
    pub fn updated_at(&self) -> Timestamp {
        Timestamp::from_micros(self.updated_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_takes_a_job_over_repeats_no_number_that_was_sent() {
        for saved in [0, 7, i32::MAX - 10] {
            let sent = (saved..=i32::MAX).take(5_000);
            let highest = sent
                .filter(|number| is_within_reserve(saved, *number))
                .max();
            // A claim counts from here, after a worker that saved nothing more.
            assert!(highest.is_none_or(|highest| highest < next_reserved(saved)));
            assert!(is_within_reserve(saved, saved));
        }
    }
}
