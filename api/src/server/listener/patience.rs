//! Deadlines for the next request of a connection, and the connections that wait for one.
//!
//! hyper has one deadline for the time between two requests and for the time that a request's head takes. Here these are
//! two: a connection may rest for [`IDLE`] between requests, and a head that has begun, or is the connection's first, has
//! to be whole within [`HEAD`]. hyper asks a [`Timer`] for a [`Sleep`] when it begins to wait for a head; that sleep ends
//! at whichever of the two deadlines counts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::io::AsyncRead;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::io::InspectReader;

/// How long the head of a request may take.
pub(super) const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may rest between two requests. Longer than the 60 seconds after which common reverse proxies close
/// theirs, so that they do not send a request as we close.
pub(super) const IDLE: Duration = Duration::from_secs(75);

/// The connections of a listener that wait for the head of a request, or for the end of a TLS handshake. The one that has
/// waited longest ends when a new connection needs a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    /// In the order in which they began to wait.
    connections: BTreeMap<u64, Arc<Notify>>,
    begun: u64,
}

/// An entry of the list, removed when it is dropped.
pub(super) struct Listed {
    list: Waiting,
    number: u64,
}

impl Waiting {
    /// Lists a connection. `end` is notified when it has to make room.
    pub(super) fn enter(&self, end: Arc<Notify>) -> Listed {
        let mut list = self.list();
        list.begun += 1;
        let number = list.begun;
        list.connections.insert(number, end);
        let list = self.clone();
        Listed { list, number }
    }

    /// Ends the connection that has waited longest, if there is one.
    pub(super) fn end_longest(&self) {
        if let Some((_, end)) = self.list().connections.pop_first() {
            end.notify_one();
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.list().connections.remove(&self.number);
    }
}

/// The deadlines of one connection.
#[derive(Clone)]
pub(super) struct Patience {
    head: Duration,
    idle: Duration,
    seen: Arc<Seen>,
    waiting: Waiting,
    end: Arc<Notify>,
}

#[derive(Default)]
struct Seen {
    /// Whether anything was read since the last head was complete.
    begun: AtomicBool,
    /// Whether a head was waited for before.
    known: AtomicBool,
    /// Whether a head is waited for now.
    waits: AtomicBool,
}

impl Patience {
    /// `head` is how long the head of a request may take, `idle` how long the connection may rest between two. While the
    /// connection waits for a head it is listed in `waiting`.
    pub(super) fn new(head: Duration, idle: Duration, waiting: Waiting) -> Self {
        Self {
            head,
            idle,
            seen: Arc::default(),
            waiting,
            end: Arc::default(),
        }
    }

    /// Returns the stream of the connection. It notes when it is read from, and keeps `place` while it is open.
    pub(super) fn watch<S: AsyncRead>(
        &self,
        stream: S,
        place: OwnedSemaphorePermit,
    ) -> InspectReader<S, impl FnMut(&[u8]) + Send + use<S>> {
        let seen = Arc::clone(&self.seen);
        InspectReader::new(stream, move |_| {
            let _kept = &place;
            seen.begun.store(true, Ordering::Relaxed);
        })
    }

    /// Completes when the connection has lost its place to another one while it waits for a head.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
        // A head that arrived in the same moment is answered.
        while !self.seen.waits.load(Ordering::Relaxed) {
            self.end.notified().await;
        }
    }

    /// How long hyper waits for the next head.
    pub(super) fn most(&self) -> Duration {
        self.idle.max(self.head)
    }
}

impl Timer for Patience {
    /// Ends at `deadline`, or earlier, as the module says.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let is_first = !self.seen.known.swap(true, Ordering::Relaxed);
        self.seen.begun.store(is_first, Ordering::Relaxed);
        self.seen.waits.store(true, Ordering::Relaxed);
        Box::pin(Wait {
            _listed: self.waiting.enter(Arc::clone(&self.end)),
            head: self.head,
            seen: Arc::clone(&self.seen),
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
            for_head: false,
        })
    }
}

struct Wait {
    _listed: Listed,
    head: Duration,
    seen: Arc<Seen>,
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// Whether it ends with the deadline for a head.
    for_head: bool,
}

impl Sleep for Wait {}

impl Drop for Wait {
    fn drop(&mut self) {
        self.seen.waits.store(false, Ordering::Relaxed);
    }
}

impl Future for Wait {
    type Output = ();

    /// hyper polls it whenever it has read something and the head is not complete.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.for_head && self.seen.begun.load(Ordering::Relaxed) {
            self.for_head = true;
            let deadline = tokio::time::Instant::now() + self.head;
            if deadline < self.sleep.deadline() {
                self.sleep.as_mut().reset(deadline);
            }
        }
        self.sleep.as_mut().poll(cx)
    }
}
