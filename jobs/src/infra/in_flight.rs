//! Things that are being done at this moment, a bounded number of them, each at most once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The ids of what is being done. Cheap to clone; clones share the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<Uuid>>>);

/// Takes its id out of the set when it is dropped, also by a panic.
pub(crate) struct InFlightGuard(InFlight, Uuid);

impl InFlight {
    /// Enters an id, unless it is there already or `at_most` others are.
    pub(crate) fn begin(&self, id: Uuid, at_most: usize) -> Option<InFlightGuard> {
        let mut ids = self.lock();
        let entered = ids.len() < at_most && ids.insert(id);
        entered.then(|| InFlightGuard(self.clone(), id))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}
