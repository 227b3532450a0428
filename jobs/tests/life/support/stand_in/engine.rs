//! The engine: images by id, names that mean them, containers that use them, and faults to order.

mod answers;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::future;

use axum::extract::State;
use axum::http::{Method, Uri};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::registry::Content;
use super::{Image, Registry, Shared, http, lock};
use store::Store;

/// How a pull goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullFault {
    /// There is no room for a layer.
    DiskFull,
    /// The registry's connection breaks in the middle of a layer.
    CutOff,
}

/// Ends when it is dropped.
pub(crate) struct Engine {
    /// For `DOCKER_HOST`.
    pub(crate) url: String,
    parts: Parts,
    _server: AbortOnDropHandle<()>,
}

/// What its requests share.
#[derive(Clone)]
struct Parts {
    store: Shared<Store>,
    registry: Shared<Content>,
    /// Pulls go on while it is open.
    open: watch::Sender<bool>,
    /// Pulls that wait for it.
    waiting: watch::Sender<usize>,
    events: broadcast::Sender<String>,
}

impl Engine {
    /// An engine without images that pulls from this registry.
    pub(crate) async fn start(registry: &Registry) -> Self {
        let parts = Parts {
            store: Shared::default(),
            registry: registry.content(),
            open: watch::Sender::new(true),
            waiting: watch::Sender::new(0),
            events: broadcast::Sender::new(64),
        };
        let answer = |State(parts): State<Parts>, method: Method, uri: Uri| {
            future::ready(answers::answer(&parts, &method, &uri))
        };
        let (port, server) = http::serve(http::all(answer, parts.clone())).await;
        Self {
            url: format!("tcp://127.0.0.1:{port}"),
            parts,
            _server: server,
        }
    }

    /// From now on pulls wait in the middle.
    pub(crate) fn block(&self) {
        self.parts.open.send_replace(false);
    }

    /// They go on.
    pub(crate) fn open(&self) {
        self.parts.open.send_replace(true);
    }

    /// Waits until so many pulls wait.
    pub(crate) async fn stuck(&self, pulls: usize) {
        let mut waiting = self.parts.waiting.subscribe();
        waiting.wait_for(|stuck| *stuck == pulls).await.unwrap();
    }

    /// The next so many pulls go wrong.
    pub(crate) fn fail_pulls(&self, fault: PullFault, times: usize) {
        lock(&self.parts.store).pull_faults = vec![fault; times];
    }

    /// The next so many deletions of images by id fail.
    pub(crate) fn fail_deletions(&self, times: usize) {
        lock(&self.parts.store).delete_faults = times;
    }

    /// `docker pull` by the engine's operator: a registry's image under a name.
    pub(crate) fn operator_pulls(&self, image: &Image, name: &str) {
        let mut store = lock(&self.parts.store);
        store.bring(image);
        store.tag(&image.id, name);
    }

    /// `docker tag` by the operator; false if there is no such image.
    pub(crate) fn operator_tags(&self, image: &Image, name: &str) -> bool {
        lock(&self.parts.store).tag(&image.id, name)
    }

    /// `docker rmi -f`, or a disk that lost it.
    pub(crate) fn lose(&self, image: &Image) {
        lock(&self.parts.store).forget(&image.id);
        self.parts.tell("delete", &image.id);
    }

    /// `docker create` or `docker rm`: whether a container uses an image.
    pub(crate) fn use_image(&self, image: &Image, used: bool) {
        let mut store = lock(&self.parts.store);
        if used {
            store.containers.insert(image.id.clone());
        } else {
            store.containers.remove(&image.id);
        }
    }

    /// The ids of its images, and the image id that each tag means.
    pub(crate) fn images(&self) -> (BTreeSet<String>, BTreeMap<String, String>) {
        lock(&self.parts.store).summary()
    }
}

impl Parts {
    /// Tells whoever follows the event stream.
    fn tell(&self, action: &str, id: &str) {
        let event = serde_json::json!({
            "Type": "image", "Action": action, "status": action, "id": id,
            "Actor": {"ID": id, "Attributes": {"name": id}}, "scope": "local", "time": 1, "timeNano": 1,
        });
        // Nobody may follow.
        let _ = self.events.send(format!("{event}\n"));
    }
}
