//! A registry that sends an engine where nobody may go.

use std::io::ErrorKind;
use std::net::TcpListener;

use wharfinger_entity::{Credits, JobErrorCode};

use crate::support::stand_in::{Image, Registry};
use crate::support::{Fleet, Shape, on_every_shape};

on_every_shape!(an_engine_is_not_sent_inside);

/// The rules of the tests permit 127.0.0.1 and nothing else of the loopback.
async fn an_engine_is_not_sent_inside(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let inside = TcpListener::bind("127.0.0.2:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let address = inside.local_addr().unwrap();
    let registry = Registry::start().await;
    registry.push("r", "1", &Image::new("an image", 2_000_000, 1_000_000), 0);
    registry.redirect_blobs(&format!("http://{address}/latest/meta-data"));
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &format!("{}/r:1", registry.address)).await;
    fleet.fails(job.id, JobErrorCode::RegistryNotAllowed).await;
    assert_eq!(fleet.account(user).await.held, Credits::ZERO);
    let connected = inside.accept().map_err(|error| error.kind());
    assert_eq!(connected.unwrap_err(), ErrorKind::WouldBlock);
    fleet.finish().await;
}
