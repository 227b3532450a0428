//! Re-polls apalis when a wake-up arrived during a command. While apalis fetches, it looks neither at pushes nor at its
//! heartbeat, and a fetch that comes back empty puts it to sleep until the next of these: a push meanwhile would wait, and a
//! worker whose heartbeat came due meanwhile would send none until the next push, and be taken for dead.

use std::future::poll_fn;
use std::task::Poll;

use futures::FutureExt;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::watch;

use crate::infra::redis_connection::Connection;

/// The connection of an apalis worker, which makes the worker look once more after a command if there was reason to look
/// during it.
#[derive(Clone)]
pub(super) struct WakeOnMissedSignal {
    pub(super) connection: Connection,
    /// Changes when it is time to look.
    pub(super) woken: watch::Receiver<()>,
}

impl WakeOnMissedSignal {
    async fn look_again(&self) {
        if self.woken.has_changed().unwrap_or(false) {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
        }
    }
}

impl ConnectionLike for WakeOnMissedSignal {
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
