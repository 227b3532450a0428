//! The attempts that run in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use uuid::Uuid;

use super::JobRun;

/// The running attempts, by job.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<Uuid, Weak<JobRun>>>>);

impl Running {
    /// Lists an attempt until what is returned is dropped.
    pub(crate) fn register(&self, run: &Arc<JobRun>) -> Registered {
        self.lock().insert(run.job.id, Arc::downgrade(run));
        Registered {
            running: self.clone(),
            job_id: run.job.id,
            attempt: run.job.attempt,
        }
    }

    /// The attempt of this job, if it runs here.
    pub(crate) fn of(&self, job_id: Uuid) -> Option<Arc<JobRun>> {
        self.lock().get(&job_id).and_then(Weak::upgrade)
    }

    /// How many run.
    #[cfg(feature = "testing")]
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Weak<JobRun>>> {
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
        // A newer attempt may have taken its place.
        let newer = |run: &Arc<JobRun>| run.job.attempt != self.attempt;
        if self
            .running
            .of(self.job_id)
            .as_ref()
            .is_none_or(|run| !newer(run))
        {
            self.running.lock().remove(&self.job_id);
        }
    }
}
