//! One channel for each topic that has subscribers in this process.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use super::{Event, Topic};

/// How far a subscriber may fall behind before it gets a gap. Progress comes ten times a second.
const BACKLOG: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Fanout {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, broadcast::Sender<Event>>,
    /// Topics that came or went since they were last looked at, while a subscribing connection follows.
    changes: Option<HashSet<Topic>>,
}

/// Topics whose subscription at Redis may have to change.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) watched: Vec<Topic>,
    pub(crate) unwatched: Vec<Topic>,
}

impl Fanout {
    pub(crate) fn subscribe(&self, topic: Topic) -> broadcast::Receiver<Event> {
        let mut state = self.state.lock();
        if let Some(sender) = state.topics.get(&topic) {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BACKLOG);
        state.topics.insert(topic, sender);
        self.note(&mut state, topic);
        receiver
    }

    /// To be called after a receiver of `topic` was dropped: its channel goes with the last one.
    pub(crate) fn release(&self, topic: Topic) {
        let mut state = self.state.lock();
        let unwatched = |sender: &broadcast::Sender<Event>| sender.receiver_count() == 0;
        if state.topics.get(&topic).is_some_and(unwatched) {
            state.topics.remove(&topic);
            self.note(&mut state, topic);
        }
    }

    pub(crate) fn deliver(&self, topic: Topic, event: &Event) {
        if let Some(sender) = self.state.lock().topics.get(&topic) {
            // It fails only when the last receiver is just being dropped.
            let _no_receiver = sender.send(event.clone());
        }
    }

    pub(crate) fn deliver_to_all(&self, event: &Event) {
        for sender in self.state.lock().topics.values() {
            let _no_receiver = sender.send(event.clone());
        }
    }

    pub(crate) fn topics(&self) -> usize {
        self.state.lock().topics.len()
    }

    pub(crate) fn subscribers(&self) -> usize {
        let receivers = |sender: &broadcast::Sender<Event>| sender.receiver_count();
        self.state.lock().topics.values().map(receivers).sum()
    }

    /// Every watched topic; from now on [`Self::changes`] tells which come and go.
    pub(crate) fn follow(&self) -> Vec<Topic> {
        let mut state = self.state.lock();
        state.changes = Some(HashSet::new());
        state.topics.keys().copied().collect()
    }

    /// Ends [`Self::follow`]: without a follower no changes are kept.
    pub(crate) fn unfollow(&self) {
        self.state.lock().changes = None;
    }

    /// Waits until topics came or went, and takes them.
    pub(crate) async fn changes(&self) -> Changes {
        loop {
            {
                let mut state = self.state.lock();
                let State { topics, changes } = &mut *state;
                if let Some(changes) = changes
                    && !changes.is_empty()
                {
                    let (watched, unwatched) = changes
                        .drain()
                        .partition(|topic| topics.contains_key(topic));
                    return Changes { watched, unwatched };
                }
            }
            self.changed.notified().await;
        }
    }

    fn note(&self, state: &mut State, topic: Topic) {
        if let Some(changes) = &mut state.changes {
            changes.insert(topic);
            self.changed.notify_one();
        }
    }
}
