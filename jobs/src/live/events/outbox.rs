//! Messages that wait to be published. Their number is bounded: publishing never waits for Redis, and never grows without it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Topic;

/// A second of ten events a second from each of a hundred jobs.
const CAPACITY: usize = 1024;
const BATCH: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<Batch>,
    added: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) messages: VecDeque<(Topic, Arc<[u8]>)>,
    /// Messages that were dropped for want of room.
    pub(crate) dropped: u64,
}

impl Outbox {
    pub(crate) fn add(&self, topic: Topic, payload: Arc<[u8]>) {
        let mut state = self.state.lock();
        state.messages.push_back((topic, payload));
        state.trim();
        self.added.notify_one();
    }

    /// Waits for messages, or for the news that some were dropped, and takes a batch.
    pub(crate) async fn take(&self) -> Batch {
        loop {
            {
                let mut state = self.state.lock();
                if !state.messages.is_empty() || state.dropped > 0 {
                    let size = state.messages.len().min(BATCH);
                    return Batch {
                        messages: state.messages.drain(..size).collect(),
                        dropped: std::mem::take(&mut state.dropped),
                    };
                }
            }
            self.added.notified().await;
        }
    }

    /// Puts back, in front, a batch that could not be published.
    pub(crate) fn put_back(&self, mut batch: Batch) {
        let mut state = self.state.lock();
        batch.messages.append(&mut state.messages);
        batch.dropped += state.dropped;
        *state = batch;
        state.trim();
    }
}

impl Batch {
    fn trim(&mut self) {
        while self.messages.len() > CAPACITY {
            self.messages.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_newest_and_counts_the_rest() {
        let outbox = Outbox::default();
        for n in 0..CAPACITY + 10 {
            outbox.add(Topic::AllJobs, n.to_be_bytes().as_slice().into());
        }
        let batch = outbox.take().await;
        assert_eq!(batch.dropped, 10);
        assert_eq!(batch.messages.len(), BATCH);
        assert_eq!(&*batch.messages[0].1, 10_usize.to_be_bytes());

        outbox.add(Topic::AllJobs, [].as_slice().into());
        outbox.put_back(batch);
        let again = outbox.take().await;
        assert_eq!(again.dropped, 11);
        assert_eq!(&*again.messages[0].1, 11_usize.to_be_bytes());
    }
}
