//! Connections whose client does not get to its request.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::servers::Server;
use crate::support::soon;
use crate::support::world::World;

/// Longer than a head and a body may take, by what a busy machine needs.
const HEAD: Duration = Duration::from_secs(40);
const BODY: Duration = Duration::from_mins(1);

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
async fn a_head_or_a_body_that_does_not_come_ends_the_connection_on_every_listener() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let gateway = world.gateway().await;
    let board = gateway.announced("the board listens on http://").await;
    let worker = world.worker().await;
    let head = "GET /healthz HTTP/1.1\r\nhost: wharf\r\nx: ";
    let body = "POST /graphql HTTP/1.1\r\nhost: wharf\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    let waits = [
        (&gateway.address, "", "", HEAD),
        (&gateway.address, head, "x", HEAD),
        (&board, head, "x", HEAD),
        (&worker.address, head, "x", HEAD),
        (&gateway.address, body, " ", BODY),
    ];
    let waits = waits.map(|(address, begin, drip, most)| async move {
        let took = ended(address, begin, drip).await;
        assert!(took < most, "{begin}: {took:?}");
    });
    join_all(waits).await;
}
