//! How this crate talks to Redis: short deadlines, lazy connections, back-off. Redis may be away at
//! any moment, at the start too, and comes back without help.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, PubSubSink, PubSubStream,
};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long one command, or one attempt to connect, may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

/// Time between two pings of an idle pub/sub connection: a half-open one is silent.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(5);

/// A connection for commands, made at first use and again after any failure, a silence included. Its clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    current: Arc<Mutex<Current>>,
    /// Changes when the task that asks has something else to look at.
    woken: Option<watch::Receiver<()>>,
}

/// The connection that is in use, and how many were in use before it.
struct Current {
    manager: ConnectionManager,
    number: usize,
}

impl Connection {
    /// Connects at first use.
    pub(crate) fn new(client: &Client) -> RedisResult<Self> {
        let current = Current {
            manager: manager(client)?,
            number: 0,
        };
        Ok(Self {
            client: client.clone(),
            current: Arc::new(Mutex::new(current)),
            woken: None,
        })
    }

    /// The same for an apalis worker, which is polled again after a command during which `woken` changed.
    ///
    /// While apalis fetches, it looks neither at pushes nor at its heartbeat, and a fetch that comes back empty puts it to sleep
    /// until the next of these: a push meanwhile would wait, and a worker whose heartbeat came due meanwhile would send none
    /// until the next push, and be taken for dead.
    pub(crate) fn waking(&self, woken: watch::Receiver<()>) -> Self {
        Self {
            woken: Some(woken),
            ..self.clone()
        }
    }

    async fn ask<T, F>(&mut self, command: impl FnOnce(ConnectionManager) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        if let Some(woken) = &mut self.woken {
            woken.mark_unchanged();
        }
        let (manager, number) = {
            let current = self.current.lock();
            (current.manager.clone(), current.number)
        };
        let answer = command(manager).await;
        let answer = self.judge(number, answer);
        let woken = self.woken.as_ref();
        if woken.is_some_and(|woken| woken.has_changed().unwrap_or(false)) {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
        }
        answer
    }

    /// Leaves a connection that did not answer in time. The manager replaces only one that was closed: a silent one would be
    /// used until the system gives it up.
    fn judge<T>(&self, number: usize, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.as_ref().is_err_and(RedisError::is_timeout) {
            let mut current = self.current.lock();
            // Another command may have left it already.
            if current.number == number {
                *current = Current {
                    manager: manager(&self.client)?,
                    number: number + 1,
                };
            }
        }
        answer
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.ask(move |mut manager| async move { manager.req_packed_command(cmd).await })
            .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.ask(
            move |mut manager| async move { manager.req_packed_commands(cmd, offset, count).await },
        )
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.current.lock().manager.get_db()
    }
}

fn manager(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE))
        // A caller waits at most for two attempts; the next call starts afresh.
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(200));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// A connection of its own for pub/sub. It ends (its stream yields `None`) and is then made anew by the caller.
pub(crate) async fn pubsub(client: &Client) -> RedisResult<(PubSubSink, PubSubStream)> {
    in_time(client.get_async_pubsub())
        .await
        .map(redis::aio::PubSub::split)
}

/// Gives a Redis call the deadline that pub/sub connections do not have by themselves.
pub(crate) async fn in_time<T>(call: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(DEADLINE, call).await.unwrap_or_else(|_elapsed| {
        Err(RedisError::from((
            ErrorKind::Io,
            "Redis did not answer in time",
        )))
    })
}

/// Delays between attempts: doubling, up to a second, so that work goes on soon after Redis is back.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(25);
    const LAST: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    pub(crate) fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LAST);
    }
}
