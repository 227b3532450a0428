//! Connections that neither answer nor close, while new ones are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use wharfinger_jobs::infra::db::{Db, is_unavailable};

use crate::support::{TestDatabase, in_time, insert};

/// Connections of the pool under test.
const CONNECTIONS: u32 = 5;

/// A way to a server, which can be made silent for the connections that there are.
struct Proxy {
    port: u16,
    /// How often it was made silent.
    silences: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silences = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&silences);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                let began = counted.load(Ordering::SeqCst);
                let (counted, also) = (Arc::clone(&counted), Arc::clone(&counted));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let silent = move || counted.load(Ordering::SeqCst) > began;
                tokio::spawn(carry(from_client, to_server, silent));
                let silent = move || also.load(Ordering::SeqCst) > began;
                tokio::spawn(carry(from_server, to_client, silent));
            }
        });
        Self {
            port,
            silences,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// All connections so far fall silent.
    fn silence(&self) {
        self.silences.fetch_add(1, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    silent: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if silent() {
            // Neither forwarded nor closed, also where the other side closes.
            std::future::pending::<()>().await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn connections_fall_silent(database: TestDatabase) {
    let mut url: url::Url = database.url.parse().unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let proxy = Proxy::start(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.port)).unwrap();
    let db = Db::connect_with(url.as_str(), CONNECTIONS).await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(&insert(0)).await.unwrap();
    // Idle ones, too.
    let others = futures::future::join_all((0..CONNECTIONS - 2).map(|_| db.begin()));
    for other in others.await {
        other.unwrap().rollback().await.unwrap();
    }

    proxy.silence();
    let began = Instant::now();
    let error = in_time("an error", tx.execute_unprepared(&insert(1))).await;
    let error = error.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    let error = in_time("no commit", tx.commit()).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    // Each connection of the pool is another one now, and none is held for ever.
    for round in 0..2 {
        let all = (1..CONNECTIONS - 1).map(async |number| {
            let tx = db.begin().await?;
            let number = 10 * round + i64::from(number);
            tx.execute_unprepared(&insert(number)).await?;
            tx.commit().await
        });
        for done in in_time("transactions", futures::future::join_all(all)).await {
            done.unwrap();
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
    // The server ends the transaction of the silent connection, and its row is free.
    in_time("the row", async {
        while let Err(error) = db.write().execute_unprepared(&insert(0)).await {
            println!("not yet: {error}");
        }
    })
    .await;
    let took = began.elapsed();
    assert!(took < Duration::from_mins(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_fall_silent_on_postgres() {
    connections_fall_silent(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_fall_silent_on_mariadb() {
    connections_fall_silent(TestDatabase::mariadb().await).await;
}
