//! The attempts that run in this process.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use uuid::Uuid;

use super::JobRun;

/// The running attempts, by job. An attempt that ended is not among them.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<Uuid, Weak<JobRun>>>>);

impl Running {
    /// Lists an attempt until it is dropped, in the place of an earlier one of its job.
    pub(crate) fn register(&self, run: &Arc<JobRun>) {
        let mut running = self.0.lock();
        running.retain(|_, run| run.strong_count() > 0);
        running.insert(run.job.id, Arc::downgrade(run));
    }

    /// The attempt of this job, if it runs here.
    pub(crate) fn of(&self, job_id: Uuid) -> Option<Arc<JobRun>> {
        self.0.lock().get(&job_id).and_then(Weak::upgrade)
    }

    /// How many run.
    #[cfg(feature = "testing")]
    pub(crate) fn count(&self) -> usize {
        let running = self.0.lock();
        running
            .values()
            .filter(|run| run.strong_count() > 0)
            .count()
    }
}
