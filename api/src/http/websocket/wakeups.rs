//! Polls what is rarely ready only when it was woken.
//!
//! The task of a socket is woken for each event of its operations, far more often than its client speaks or a timer ends.
//! Polling all of it each time costs as much as sending the event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Remembers whether what is polled through it was woken since it was last polled.
pub(crate) struct Wakeups {
    state: Arc<State>,
    waker: Waker,
}

struct State {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Wakeups {
    /// The first poll passes.
    pub(crate) fn new() -> Self {
        let state = Arc::new(State {
            woken: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            waker: Arc::clone(&state).into(),
            state,
        }
    }

    /// Pending where nothing was woken; otherwise what `poll` returns. After it was ready the next poll passes too, as more
    /// may be ready. `poll` always polls the same: what it leaves out is not polled until something wakes again.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.state.task.register(cx.waker());
        if !self.state.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let polled = poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.rouse();
        }
        polled
    }

    /// Lets the next poll pass: for what was polled in another way meanwhile.
    pub(crate) fn rouse(&self) {
        self.state.woken.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::StreamExt as _;
    use futures::channel::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_source_is_polled_when_it_was_woken_and_not_otherwise() {
        let (say, mut heard) = mpsc::unbounded();
        let (wakeups, mut polls) = (Wakeups::new(), 0);
        let mut look = |cx: &mut Context<'_>| {
            wakeups.poll(cx, |cx| {
                polls += 1;
                heard.poll_next_unpin(cx)
            })
        };
        for _ in 0..3 {
            assert!(futures::poll!(poll_fn(&mut look)).is_pending());
        }
        say.unbounded_send(1).unwrap();
        say.unbounded_send(2).unwrap();
        assert_eq!(poll_fn(&mut look).await, Some(1));
        assert_eq!(poll_fn(&mut look).await, Some(2));
        for _ in 0..3 {
            assert!(futures::poll!(poll_fn(&mut look)).is_pending());
        }
        // From another task, while this one waits.
        let later = tokio::spawn(async move { say.unbounded_send(3) });
        assert_eq!(poll_fn(&mut look).await, Some(3));
        later.await.unwrap().unwrap();
        assert_eq!(poll_fn(&mut look).await, None);
        assert_eq!(polls, 6);
    }
}
