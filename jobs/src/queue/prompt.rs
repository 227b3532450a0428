//! Nothing overslept. While apalis fetches, it looks neither at ended tasks, nor at pushes, nor at its heartbeat, and a fetch
//! that comes back empty puts it to sleep until the next of these: a handler that returned meanwhile would count as running,
//! a push would wait, and a worker whose heartbeat came due meanwhile would send none until somebody pushes again, and be
//! taken for dead.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::FutureExt;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::watch;

use crate::infra::redis_connection::Connection;

/// The connection of an apalis worker, which makes the worker look once more after a command if there was reason to look
/// during it.
#[derive(Clone)]
pub(super) struct Prompt {
    pub(super) connection: Connection,
    /// A handler returned since the last command.
    pub(super) ended: Arc<AtomicBool>,
    /// Changes when it is time to look.
    pub(super) woken: watch::Receiver<()>,
}

impl Prompt {
    async fn look_again(&self) {
        let ended = self.ended.swap(false, Ordering::AcqRel);
        if ended || self.woken.has_changed().unwrap_or(false) {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
        }
    }
}

impl ConnectionLike for Prompt {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            self.woken.mark_unchanged();
            let outcome = self.connection.req_packed_command(cmd).await;
            self.look_again().await;
            outcome
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            self.woken.mark_unchanged();
            let outcome = self
                .connection
                .req_packed_commands(cmd, offset, count)
                .await;
            self.look_again().await;
            outcome
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
