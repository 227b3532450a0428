//! The attempts that run in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::run::JobRun;

/// The cancellation tokens of the running attempts, by job.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<Uuid, (i32, CancellationToken)>>>);

impl Running {
    /// Lists an attempt until what is returned is dropped.
    pub(crate) fn register(&self, run: &JobRun) -> Registered {
        self.lock()
            .insert(run.job.id, (run.job.attempt, run.cancel.clone()));
        Registered {
            running: self.clone(),
            job_id: run.job.id,
            attempt: run.job.attempt,
        }
    }

    /// Asks the attempt of this job, if it runs here, to stop.
    pub(crate) fn cancel(&self, job_id: Uuid) {
        if let Some((_, token)) = self.lock().get(&job_id) {
            token.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, (i32, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt's place in the list.
pub(crate) struct Registered {
    running: Running,
    job_id: Uuid,
    attempt: i32,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        // A newer attempt may have taken its place.
        if running
            .get(&self.job_id)
            .is_some_and(|(attempt, _)| *attempt == self.attempt)
        {
            running.remove(&self.job_id);
        }
    }
}
