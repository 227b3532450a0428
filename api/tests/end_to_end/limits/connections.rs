//! Connections whose client does not get to its request.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::servers::Server;
use crate::support::soon;
use crate::support::world::World;

/// Longer than a head may take, by what a busy machine needs.
const LONG: Duration = Duration::from_secs(40);

/// Between two bytes of a head that comes slowly.
const DRIP: Duration = Duration::from_millis(200);

/// Waits until the other side ends the connection. Meanwhile sends `drip` again and again.
async fn ended(address: &str, begin: &str, drip: &str) -> Duration {
    let stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(begin.as_bytes()).await.unwrap();
    let dripping = async {
        loop {
            sleep(DRIP).await;
            if writer.write_all(drip.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = Vec::new();
    let read = async {
        tokio::select! {
            // A reset ends it as well.
            _ = reader.read_to_end(&mut answer) => {}
            () = dripping => {}
        }
    };
    soon("the connection is ended", read).await;
    start.elapsed()
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection_on_every_listener() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let gateway = world.gateway().await;
    let board = gateway.announced("the board listens on http://").await;
    let worker = world.worker().await;
    let dripping = "GET /healthz HTTP/1.1\r\nhost: wharf\r\nx: ";
    let all = [
        (&gateway.address, "", ""),
        (&gateway.address, dripping, "x"),
        (&board, dripping, "x"),
        (&worker.address, dripping, "x"),
    ];
    let all = all.map(|(address, begin, drip)| ended(address, begin, drip));
    for took in join_all(all).await {
        assert!(took < LONG, "{took:?}");
    }
}

#[tokio::test]
async fn a_body_that_drips_is_refused() {
    let world = World::embedded();
    let gateway = world.gateway().await;
    let begin = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
        gateway.address
    );
    let took = ended(&gateway.address, &begin, " ").await;
    assert!(took < LONG + Duration::from_secs(20), "{took:?}");
}
