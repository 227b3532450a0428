//! Pulls that are about to come: what they will need is read while their acceptance is still being committed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use uuid::Uuid;

use super::Parts;
use crate::announce::Coming;
use crate::events::{Event, Topic};
use crate::pull_image::ahead::Ahead;
use crate::trace;

/// Pulls that are waited for at a time; the oldest are forgotten first.
const MOST: usize = 16;

/// How old what was read may be when its job comes. The registry and the engine may say something else by then.
const FRESH: Duration = Duration::from_secs(1);

/// What is being read for jobs that have not come yet.
#[derive(Default)]
pub(crate) struct ComingPulls(Mutex<VecDeque<(Uuid, Instant, Ahead)>>);

impl ComingPulls {
    fn expect(&self, job_id: Uuid, ahead: Ahead) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.len() == MOST {
            expected.pop_front();
        }
        expected.push_back((job_id, Instant::now(), ahead));
    }

    /// What was begun to be read for a job, if that was just now. Reads of jobs that did not come in time are dropped.
    pub(crate) fn take(&self, job_id: Uuid) -> Option<Ahead> {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|(_, begun, _)| begun.elapsed() < FRESH);
        let place = expected.iter().position(|(id, _, _)| *id == job_id)?;
        expected.remove(place).map(|(_, _, ahead)| ahead)
    }
}

/// Begins to read whenever a pull is announced to this host; nothing while its engine is silent, because such a worker
/// takes no jobs.
pub(super) async fn read_ahead(parts: &Arc<Parts>, host_id: Uuid) {
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
        if let Some(ahead) = span.in_scope(|| Ahead::begin(parts, host_id, pull.reference)) {
            parts.coming.expect(pull.job_id, ahead);
        }
    }
}
