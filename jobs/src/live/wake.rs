//! Wakes the dispatcher of this process, for the hosts where jobs may wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Collects hosts until the dispatcher takes them. A host that has been given enough is left out until workers of this process
/// have taken so many of its jobs that it needs more: only a tick looks at it before.
#[derive(Debug)]
pub(crate) struct Wake {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug)]
struct State {
    due: Due,
    /// How many jobs of a host have been taken, since its first.
    taken: HashMap<Uuid, u64>,
    /// How many they are when a host needs more.
    enough_until: HashMap<Uuid, u64>,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: Due::Hosts(BTreeSet::new()),
                taken: HashMap::new(),
                enough_until: HashMap::new(),
            }),
            woken: Notify::new(),
        }
    }
}

impl Wake {
    /// Jobs may wait on this host.
    pub(crate) fn host(&self, id: Uuid) {
        let mut state = self.state();
        if state.enough_until.contains_key(&id) {
            return;
        }
        state.is_due(id);
        drop(state);
        self.woken.notify_one();
    }

    /// A job of this host was taken, or is not to be taken any more.
    pub(crate) fn taken(&self, id: Uuid) {
        let mut state = self.state();
        let taken = state.taken.entry(id).or_default();
        *taken += 1;
        let taken = *taken;
        if state
            .enough_until
            .get(&id)
            .is_none_or(|until| taken < *until)
        {
            return;
        }
        state.enough_until.remove(&id);
        state.is_due(id);
        drop(state);
        self.woken.notify_one();
    }

    /// How many jobs of this host have been taken, to be read before the host is looked at.
    pub(crate) fn taken_so_far(&self, id: Uuid) -> u64 {
        self.state().taken.get(&id).copied().unwrap_or(0)
    }

    /// This host has enough until so many have been taken; none: it may be given more now.
    pub(crate) fn has_enough_until(&self, id: Uuid, taken: Option<u64>) {
        let mut state = self.state();
        state.enough_until.remove(&id);
        let Some(until) = taken else { return };
        if state.taken.get(&id).copied().unwrap_or(0) < until {
            state.enough_until.insert(id, until);
            return;
        }
        state.is_due(id);
        drop(state);
        self.woken.notify_one();
    }

    /// Jobs may wait anywhere.
    pub(crate) fn all(&self) {
        self.state().due = Due::All;
        self.woken.notify_one();
    }

    /// Waits for the next hosts, and takes them.
    pub(crate) async fn next(&self) -> Due {
        self.woken.notified().await;
        std::mem::replace(&mut self.state().due, Due::Hosts(BTreeSet::new()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&mut self, id: Uuid) {
        if let Due::Hosts(hosts) = &mut self.due {
            hosts.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wake: &Wake) -> bool {
        wake.state().due != Due::Hosts(BTreeSet::new())
    }

    #[tokio::test]
    async fn a_host_that_has_enough_is_due_when_so_many_were_taken() {
        let (wake, host) = (Wake::default(), Uuid::now_v7());
        let before = wake.taken_so_far(host);
        wake.has_enough_until(host, Some(before + 2));
        wake.host(host);
        wake.taken(host);
        assert!(!due(&wake));
        wake.taken(host);
        assert_eq!(wake.next().await, Due::Hosts([host].into()));
        wake.taken(host);
        assert!(!due(&wake));
        wake.host(host);
        assert!(due(&wake));
    }

    #[tokio::test]
    async fn what_was_taken_while_the_host_was_looked_at_counts() {
        let (wake, host) = (Wake::default(), Uuid::now_v7());
        let before = wake.taken_so_far(host);
        wake.taken(host);
        wake.has_enough_until(host, Some(before + 1));
        assert_eq!(wake.next().await, Due::Hosts([host].into()));
    }

    #[test]
    fn a_host_that_is_to_be_given_more_is_due_at_once() {
        let (wake, host) = (Wake::default(), Uuid::now_v7());
        wake.has_enough_until(host, Some(3));
        wake.has_enough_until(host, None);
        wake.host(host);
        assert!(due(&wake));
    }
}
