//! Wakes the dispatcher of this process, for the hosts where jobs may wait.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
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

/// Collects hosts until the dispatcher takes them. A host that has been given enough is left alone until workers of this process
/// have taken so many of its jobs that it needs more, but for a second at most.
#[derive(Debug)]
pub(crate) struct Wake {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug)]
struct State {
    due: Due,
    hosts: HashMap<Uuid, Host>,
}

#[derive(Debug, Default)]
struct Host {
    /// How many of its jobs have been taken, since the first.
    taken: u64,
    /// How many they are when it needs more, and since when that is known.
    enough_until: Option<(u64, Instant)>,
}

/// How long a host is left alone, whatever was taken of it: jobs are also taken by other processes.
const LEFT_ALONE: Duration = Duration::from_secs(1);

impl Default for Wake {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: Due::Hosts(BTreeSet::new()),
                hosts: HashMap::new(),
            }),
            woken: Notify::new(),
        }
    }
}

impl Wake {
    /// Jobs may wait on this host.
    pub(crate) fn host(&self, id: Uuid) {
        self.change(id, |host| match host.enough_until {
            Some((_, since)) => since.elapsed() >= LEFT_ALONE,
            None => true,
        });
    }

    /// A message of this host was dealt with, or a job is not to be taken any more.
    pub(crate) fn taken(&self, id: Uuid) {
        self.change(id, |host| {
            host.taken += 1;
            host.enough_until
                .take_if(|(until, _)| host.taken >= *until)
                .is_some()
        });
    }

    /// How many jobs of this host have been taken. It is about to be looked at: what comes from now on is not left out.
    pub(crate) fn taken_so_far(&self, id: Uuid) -> u64 {
        let mut state = self.state();
        let host = state.hosts.entry(id).or_default();
        host.enough_until = None;
        host.taken
    }

    /// This host has enough until so many have been taken.
    pub(crate) fn has_enough_until(&self, id: Uuid, taken: u64) {
        self.change(id, |host| {
            let more = host.taken >= taken;
            host.enough_until = (!more).then(|| (taken, Instant::now()));
            more
        });
    }

    /// Changes what is known of a host, and wakes the dispatcher for it if that says so.
    fn change(&self, id: Uuid, change: impl FnOnce(&mut Host) -> bool) {
        let mut state = self.state();
        let is_due = change(state.hosts.entry(id).or_default());
        if !is_due {
            return;
        }
        if let Due::Hosts(hosts) = &mut state.due {
            hosts.insert(id);
        }
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
        self.state.lock()
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
        wake.has_enough_until(host, before + 2);
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
        wake.has_enough_until(host, before + 1);
        assert_eq!(wake.next().await, Due::Hosts([host].into()));
    }

    #[test]
    fn what_comes_while_the_host_is_looked_at_is_not_left_out() {
        let (wake, host) = (Wake::default(), Uuid::now_v7());
        wake.has_enough_until(host, 3);
        wake.taken_so_far(host);
        wake.host(host);
        assert!(due(&wake));
    }

    #[test]
    fn a_host_is_not_left_alone_for_long() {
        let (wake, host) = (Wake::default(), Uuid::now_v7());
        wake.has_enough_until(host, 3);
        let long_ago = Instant::now().checked_sub(LEFT_ALONE).unwrap();
        wake.change(host, |host| {
            host.enough_until = Some((3, long_ago));
            false
        });
        wake.host(host);
        assert!(due(&wake));
    }
}
