//! What the tests of the parts share: deadlines instead of sleeps, Redis servers, and HTTP servers that do as they are told.

pub(crate) mod http;
mod private_redis;

use std::time::Duration;

pub(crate) use private_redis::PrivateRedis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Longer than anything takes on a busy machine; a test that gets here has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, or fails the test and says what did not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_elapsed| panic!("not within {DEADLINE:?}: {what}"))
}

/// Asks again until the answer is yes, or fails the test.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The shared test server.
pub(crate) fn redis_url() -> String {
    std::env::var("WHARFINGER_TEST_REDIS_URL")
        .expect("WHARFINGER_TEST_REDIS_URL is not set: run `make test`")
}

/// Keys of this test alone.
pub(crate) fn prefix() -> String {
    format!("test-{}", Uuid::new_v4().simple())
}

impl PrivateRedis {
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        command(&self.url(), words).await
    }
}

/// A way to the shared test server on which every answer takes its time. It ends when this is dropped.
pub(crate) struct SlowRedis {
    pub(crate) url: String,
    _serving: AbortOnDropHandle<()>,
}

impl SlowRedis {
    pub(crate) async fn start(delay: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut through: url::Url = redis_url().parse().unwrap();
        let server = format!("127.0.0.1:{}", through.port().unwrap());
        through
            .set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                connections.spawn(answer_late(client, server, delay));
            }
        });
        Self {
            url: through.to_string(),
            _serving: AbortOnDropHandle::new(serving),
        }
    }
}

/// Passes requests on at once, and what comes back in its order, each part so much later.
async fn answer_late(mut client: TcpStream, mut server: TcpStream, delay: Duration) {
    let (mut of_client, mut to_client) = client.split();
    let (mut of_server, mut to_server) = server.split();
    let (sent, mut answers) = mpsc::unbounded_channel();
    let reading = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match of_server.read(&mut buffer).await {
                Ok(read) if read > 0 => {
                    let _ = sent.send((Instant::now() + delay, buffer[..read].to_vec()));
                }
                _ => return,
            }
        }
    };
    let answering = async {
        while let Some((at, part)) = answers.recv().await {
            tokio::time::sleep_until(at).await;
            if to_client.write_all(&part).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut of_client, &mut to_server) => {}
        () = reading => {}
        () = answering => {}
    }
}

/// One command to the server at `url`.
pub(crate) async fn command(url: &str, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}
