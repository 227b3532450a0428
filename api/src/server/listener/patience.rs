//! Deadlines for the next request of a connection.
//!
//! hyper has one deadline for the time between two requests and for the time that a request's head takes. Here these are
//! two: a connection may rest for [`IDLE`] between requests, and a head that has begun, or is the connection's first, has
//! to be whole within [`HEAD`]. hyper asks a [`Timer`] for a [`Sleep`] when it begins to wait for a head; that sleep ends
//! at whichever of the two deadlines counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::waiting::{self, Waiting};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may rest between two requests. Longer than the 60 seconds after which common reverse proxies close
/// theirs, so that they do not send a request as we close.
const IDLE: Duration = Duration::from_secs(75);

/// The deadlines of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    head: Duration,
    idle: Duration,
    seen: Arc<Seen>,
    waiting: Waiting,
    end: Arc<Notify>,
}

impl Patience {
    /// `head` is how long the head of a request may take, `idle` how long the connection may rest between two. While the
    /// connection waits for a head it is listed in `waiting`.
    pub(crate) fn new(head: Duration, idle: Duration, waiting: Waiting) -> Self {
        Self {
            head,
            idle,
            seen: Arc::default(),
            waiting,
            end: Arc::default(),
        }
    }

    /// The deadlines of a listener's connections.
    pub(crate) fn usual(waiting: Waiting) -> Self {
        Self::new(HEAD, IDLE, waiting)
    }

    /// Completes when the connection has lost its place to another one while it waits for a head.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
        // A head that arrived in the same moment is answered.
        while !self.seen.waits.load(Ordering::Relaxed) {
            self.end.notified().await;
        }
    }

    /// How long hyper waits for the next head.
    pub(crate) fn most(&self) -> Duration {
        self.idle.max(self.head)
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Whether anything was read since the last head was complete.
    begun: AtomicBool,
    /// Whether a head was waited for before.
    known: AtomicBool,
    /// Whether a head is waited for now.
    waits: AtomicBool,
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
            _entry: self.waiting.enter(Arc::clone(&self.end)),
            head: self.head,
            seen: Arc::clone(&self.seen),
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
            for_head: false,
        })
    }
}

struct Wait {
    _entry: waiting::Wait,
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

/// A connection that notes when it was read from, and keeps its place among the listener's connections while it is open.
pub(crate) struct Watched<S> {
    stream: S,
    seen: Arc<Seen>,
    _place: OwnedSemaphorePermit,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, patience: &Patience, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            seen: Arc::clone(&patience.seen),
            _place: place,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.seen.begun.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}
