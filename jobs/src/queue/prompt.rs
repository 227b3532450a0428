//! Acknowledgements without delay. apalis looks for ended tasks only while it is not fetching, and a fetch that
//! comes back empty puts it to sleep until the next heartbeat: a handler that returned meanwhile would count as
//! running for two more seconds.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::FutureExt;
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{Cmd, Pipeline, RedisFuture, Value};

/// The connection of an apalis worker, which makes the worker look once more after a command if a handler
/// returned during it.
#[derive(Clone)]
pub(super) struct Prompt {
    pub(super) connection: ConnectionManager,
    /// A handler returned since the last command.
    pub(super) ended: Arc<AtomicBool>,
}

impl Prompt {
    async fn look_again(ended: &AtomicBool) {
        if ended.swap(false, Ordering::AcqRel) {
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
            let outcome = self.connection.req_packed_command(cmd).await;
            Self::look_again(&self.ended).await;
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
            let outcome = self
                .connection
                .req_packed_commands(cmd, offset, count)
                .await;
            Self::look_again(&self.ended).await;
            outcome
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
