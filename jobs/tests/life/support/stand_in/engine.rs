//! The engine: images by id, names that mean them, containers that use them, and faults to order.

mod answers;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    /// The registry refuses a layer.
    Denied,
    /// The registry's connection falls silent.
    Silent,
}

/// How often an engine tells how far it has unpacked a layer.
const UNPACKING: Duration = Duration::from_millis(50);

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
    /// While a pull waits, it unpacks; how often it has told of it.
    unpacked: watch::Sender<Option<u64>>,
    /// Images can be looked at while it is open.
    seeing: watch::Sender<bool>,
    /// Looks that wait for it.
    looking: watch::Sender<usize>,
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
            unpacked: watch::Sender::new(None),
            seeing: watch::Sender::new(true),
            looking: watch::Sender::new(0),
            events: broadcast::Sender::new(64),
        };
        let answer = async |State(parts): State<Parts>, method: Method, uri: Uri| {
            // Of one image: the list is another matter.
            let of_one = uri.path().split_once("/images/").map(|(_, rest)| rest);
            if method == Method::GET && of_one.is_some_and(|rest| rest.ends_with("/json")) {
                parts.look().await;
            }
            answers::answer(&parts, &method, &uri)
        };
        let (address, server) = http::serve(http::all(answer, parts.clone())).await;
        Self {
            url: format!("tcp://{address}"),
            parts,
            _server: server,
        }
    }

    /// From now on pulls wait in the middle.
    pub(crate) fn block(&self) {
        self.parts.open.send_replace(false);
    }

    /// From now on pulls wait in the middle and unpack a layer all the while.
    pub(crate) fn unpack(&self) {
        self.parts.unpacked.send_replace(Some(0));
        self.block();
    }

    /// Waits until pulls have unpacked for so long.
    pub(crate) async fn has_unpacked_for(&self, time: Duration) {
        let steps = u64::try_from(time.as_millis() / UNPACKING.as_millis()).unwrap();
        let mut unpacked = self.parts.unpacked.subscribe();
        unpacked
            .wait_for(|told| *told >= Some(steps))
            .await
            .unwrap();
    }

    /// Lets the pull that is stuck go on, and stops the worker where it wants to see the image.
    pub(crate) async fn stops_at_its_look(&self) {
        self.stuck(1).await;
        self.parts.seeing.send_replace(false);
        self.open();
        let mut looking = self.parts.looking.subscribe();
        looking.wait_for(|looks| *looks > 0).await.unwrap();
    }

    /// Images can be seen again.
    pub(crate) fn open_looks(&self) {
        self.parts.seeing.send_replace(true);
    }

    /// How many pulls it was asked for.
    pub(crate) fn pulls(&self) -> usize {
        lock(&self.parts.store).pulls
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

    /// Pulls of this image are refused by the registry.
    pub(crate) fn refuse(&self, image: &Image) {
        lock(&self.parts.store).refused.insert(image.id.clone());
    }

    /// Once this image is tagged, it cannot be looked at the next time.
    pub(crate) fn hide_when_tagged(&self, image: &Image) {
        lock(&self.parts.store).hides = Some(image.id.clone());
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
    async fn look(&self) {
        let mut seeing = self.seeing.subscribe();
        if !*seeing.borrow() {
            self.looking.send_modify(|looks| *looks += 1);
            // The engine lives as long as whoever could close the channel.
            let _ = seeing.wait_for(|seeing| *seeing).await;
        }
    }

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
