//! Pulls that are about to come: what they will need is read while their acceptance is still being committed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt as _;
use uuid::Uuid;

use crate::attempt::WorkerContext;
use crate::infra::trace;
use crate::live::events::{Event, Topic};
use crate::live::notify::Coming;
use crate::pull_image::ahead::{Ahead, FRESH};

/// Pulls that are remembered at a time; the oldest are forgotten first.
const MOST: usize = 16;

/// What is being read for jobs that have not come yet.
pub(crate) struct ComingPulls<T = Ahead>(Mutex<VecDeque<Pull<T>>>);

struct Pull<T> {
    job_id: Uuid,
    since: Instant,
    /// None when the job has come.
    ahead: Option<T>,
}

impl<T> Default for ComingPulls<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ComingPulls<T> {
    /// Begins to read for a job that is announced, unless it came faster than its announcement.
    fn expect(&self, job_id: Uuid, begin: impl FnOnce() -> Option<T>, now: Instant) {
        let mut pulls = self.pulls();
        if pulls.iter().all(|pull| pull.job_id != job_id) {
            remember(&mut pulls, job_id, begin(), now);
        }
    }

    /// What is being read for a job that has come: since its announcement if that was just now, else from now on.
    pub(crate) fn come(
        &self,
        job_id: Uuid,
        begin: impl FnOnce() -> Option<T>,
        now: Instant,
    ) -> Option<T> {
        let mut pulls = self.pulls();
        let Some(pull) = pulls.iter_mut().find(|pull| pull.job_id == job_id) else {
            remember(&mut pulls, job_id, None, now);
            return begin();
        };
        let fresh = now.duration_since(pull.since) < FRESH;
        let ahead = pull.ahead.take().filter(|_| fresh);
        ahead.or_else(begin)
    }

    fn pulls(&self) -> MutexGuard<'_, VecDeque<Pull<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember<T>(pulls: &mut VecDeque<Pull<T>>, job_id: Uuid, ahead: Option<T>, now: Instant) {
    if pulls.len() == MOST {
        pulls.pop_front();
    }
    pulls.push_back(Pull {
        job_id,
        since: now,
        ahead,
    });
}

/// Begins to read whenever a pull is announced to this host; nothing while its engine is silent, because such a worker
/// takes no jobs.
pub(super) async fn read_ahead(parts: &Arc<WorkerContext>, host_id: Uuid) {
    let mut pulls = parts.services.events.subscribe(Topic::Coming(host_id));
    while let Some(event) = pulls.next().await {
        // What was missed is read when its job comes.
        let Event::Message(payload) = event else {
            continue;
        };
        let Ok(pull) = serde_json::from_slice::<Coming>(&payload) else {
            continue;
        };
        if !*parts.engine_answers.borrow() {
            continue;
        }
        let span = trace::ahead(pull.job_id, 1, pull.traceparent.as_deref());
        let begin = || span.in_scope(|| Ahead::begin(parts, host_id, pull.reference));
        parts.coming.expect(pull.job_id, begin, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn what_was_begun_for_a_job_is_taken_once_and_begun_once() {
        let (pulls, now) = (ComingPulls::default(), Instant::now());
        pulls.expect(id(1), || Some("announced"), now);
        pulls.expect(id(1), || panic!("begun already"), now);
        assert_eq!(
            pulls.come(id(1), || panic!("begun already"), now),
            Some("announced")
        );
        // Another attempt, and an announcement that comes too late.
        assert_eq!(pulls.come(id(1), || Some("anew"), now), Some("anew"));
        pulls.expect(id(1), || panic!("it has come"), now);
        assert_eq!(pulls.come(id(2), || Some("come"), now), Some("come"));
        pulls.expect(id(2), || panic!("it has come"), now);
    }

    #[test]
    fn what_is_old_or_among_too_many_is_begun_anew() {
        let (pulls, now) = (ComingPulls::default(), Instant::now());
        pulls.expect(id(0), || Some("announced"), now);
        let later = now + FRESH;
        assert_eq!(pulls.come(id(0), || Some("anew"), later), Some("anew"));
        for number in 1..=MOST as u128 + 1 {
            pulls.expect(id(number), || Some("announced"), later);
        }
        assert_eq!(pulls.pulls().len(), MOST);
        assert_eq!(pulls.come(id(1), || Some("anew"), later), Some("anew"));
        assert_eq!(pulls.come(id(3), || Some("anew"), later), Some("announced"));
    }
}
