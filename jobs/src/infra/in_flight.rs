//! Things that are being done at this moment, a bounded number of them, each at most once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

/// The ids of what is being done. Cheap to clone; clones share the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<Uuid>>>);

/// Takes its id out of the set when it is dropped, also by a panic.
pub(crate) struct InFlightGuard(InFlight, Uuid);

impl InFlight {
    /// Enters an id, unless it is there already or `at_most` others are.
    pub(crate) fn begin(&self, id: Uuid, at_most: usize) -> Option<InFlightGuard> {
        let mut ids = self.0.lock();
        let entered = ids.len() < at_most && ids.insert(id);
        entered.then(|| InFlightGuard(self.clone(), id))
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}
