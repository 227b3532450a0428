//! A registry that sends an engine where nobody may go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use wharfinger_entity::{Credits, JobErrorCode, JobState};

use crate::support::stand_in::{Image, Registry};
use crate::support::{Fleet, Shape, on_every_shape};

on_every_shape!(an_engine_is_not_sent_inside);

/// The rules of the tests permit 127.0.0.1 and nothing else of the loopback.
async fn an_engine_is_not_sent_inside(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let inside = Inside::listen().await;
    let registry = Registry::start().await;
    registry.push("r", "1", &Image::new("an image", 2_000_000, 1_000_000), 0);
    registry.redirect_blobs(&format!("http://{}/latest/meta-data", inside.address));
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &format!("{}/r:1", registry.address)).await;
    let job = fleet.ended(job.id).await;
    assert_eq!(
        (job.state, job.error_code),
        (JobState::Failed, Some(JobErrorCode::RegistryNotAllowed)),
        "{job:?}"
    );
    assert_eq!(fleet.account(user).await.held, Credits::ZERO);
    assert_eq!(inside.connections.load(Ordering::SeqCst), 0);
    fleet.finish().await;
}

/// What must not be asked.
struct Inside {
    address: String,
    connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Inside {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            address,
            connections,
            _task: AbortOnDropHandle::new(task),
        }
    }
}
