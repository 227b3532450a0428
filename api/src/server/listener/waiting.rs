//! The connections of a listener that wait for a request, of which the one that has waited longest ends when a new
//! connection needs a place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lists connections that wait for the head of a request, or for the end of a TLS handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    /// In the order in which they began to wait.
    connections: BTreeMap<u64, Arc<Notify>>,
    begun: u64,
}

/// An entry of the list, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    list: Waiting,
    number: u64,
}

impl Waiting {
    /// Lists a connection. `end` is notified when it has to make room.
    pub(crate) fn enter(&self, end: Arc<Notify>) -> Wait {
        let mut list = self.list();
        list.begun += 1;
        let number = list.begun;
        list.connections.insert(number, end);
        drop(list);
        Wait {
            list: self.clone(),
            number,
        }
    }

    /// Ends the connection that has waited longest, if there is one.
    pub(crate) fn end_longest(&self) {
        if let Some((_, end)) = self.list().connections.pop_first() {
            end.notify_one();
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.list.list().connections.remove(&self.number);
    }
}
