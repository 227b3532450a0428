//! Wakes the dispatcher of this process, for the hosts where jobs may wait.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

/// The hosts where jobs may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Any host.
    All,
    /// These.
    Hosts(BTreeSet<Uuid>),
}

/// Collects hosts until the dispatcher takes them.
#[derive(Debug)]
pub(crate) struct Wake {
    due: Mutex<Due>,
    woken: Notify,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            due: Mutex::new(Due::Hosts(BTreeSet::new())),
            woken: Notify::new(),
        }
    }
}

impl Wake {
    /// Jobs may wait on this host.
    pub(crate) fn host(&self, id: Uuid) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if let Due::Hosts(hosts) = &mut *due {
            hosts.insert(id);
        }
        self.woken.notify_one();
    }

    /// Jobs may wait anywhere.
    pub(crate) fn all(&self) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Due::All;
        self.woken.notify_one();
    }

    /// Waits for the next hosts, and takes them.
    pub(crate) async fn next(&self) -> Due {
        self.woken.notified().await;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut due, Due::Hosts(BTreeSet::new()))
    }
}
