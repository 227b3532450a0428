//! The engines as their operators see them, the images that go there, and what must hold of both in the end.

use std::process::Command;

use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use wharfinger_entity::{Credits, engine_image, host, image};
use wharfinger_jobs::db::Db;
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::testing::image::TestImage;

use crate::invariants::check_invariants;
use crate::support::servers::{engine, random_layer, unique_name};
use crate::support::until;
use crate::support::world::World;

/// An image in the registry.
pub(crate) struct Cargo {
    /// `repository:tag`
    pub(crate) name: String,
    /// The engine's id of it.
    id: String,
    size: i64,
    /// What it costs.
    pub(crate) credits: Value,
}

/// Pushes an image of so many bytes.
pub(crate) async fn push(world: &World, bytes: usize) -> Cargo {
    let name = unique_name();
    let image = TestImage::new(vec![random_layer(bytes)]);
    let pushed = world.registry.push(&name, "v1", &image).await;
    let size = i64::try_from(bytes).unwrap();
    Cargo {
        name: format!("{name}:v1"),
        id: pushed.config_digest,
        size,
        credits: json!(Credits::from_micro(size).to_string()),
    }
}

impl Cargo {
    /// Its reference, straight at the registry.
    pub(crate) fn at(&self, world: &World) -> String {
        format!("{}/{}", world.registry.address, self.name)
    }

    /// What is left of so many credits when it is paid for.
    pub(crate) fn left_of(&self, credits: i64) -> Value {
        self.left_of_micro(credits * 1_000_000)
    }

    /// What is left of so many micro-credits.
    pub(crate) fn left_of_micro(&self, credits: i64) -> Value {
        json!(Credits::from_micro(credits - self.size).to_string())
    }
}

/// Both engines.
pub(crate) struct Wharf {
    engines: [Engine; 2],
}

impl Wharf {
    pub(crate) fn open() -> Self {
        let open = |number| Engine::connect(Some(&engine(number))).unwrap();
        Self {
            engines: [open(1), open(2)],
        }
    }

    /// Whether an engine has an image.
    pub(crate) async fn has(&self, number: usize, cargo: &Cargo) -> bool {
        let found = self.engines[number - 1].inspect(&cargo.id).await;
        found.unwrap().is_some()
    }

    /// Waits until an image is gone from an engine.
    pub(crate) async fn loses(&self, number: usize, cargo: &Cargo) {
        until("the image leaves the engine", async || {
            (!self.has(number, cargo).await).then_some(())
        })
        .await;
    }
}

/// A container of an image; it is removed when this is dropped.
pub(crate) fn use_of(number: usize, cargo: &Cargo) -> Container {
    let name = unique_name();
    let created = docker(number, &["create", "--name", &name, &cargo.id]);
    assert!(created, "docker create {}", cargo.id);
    Container { number, name }
}

/// A container that uses an image.
pub(crate) struct Container {
    number: usize,
    name: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(self.number, &["rm", "--force", &self.name]);
    }
}

/// Debian's package of the engine has its client.
fn docker(number: usize, arguments: &[&str]) -> bool {
    let mut command = Command::new("docker");
    command.arg("--host").arg(engine(number)).args(arguments);
    command.output().unwrap().status.success()
}

/// Invariants 1 to 3 in the database, and 4 between it and the engines: what is held is there, and what Wharfinger brought
/// and nobody holds is not.
pub(crate) async fn in_order(world: &World, wharf: &Wharf) {
    let db = Db::connect(&world.database_url()).await.unwrap();
    check_invariants(&db).await;
    let hosts = host::Entity::find().all(db.read()).await.unwrap();
    let images = image::Entity::find().all(db.read()).await.unwrap();
    for known in engine_image::Entity::find().all(db.read()).await.unwrap() {
        let held = images
            .iter()
            .any(|image| image.engine_image_id == known.id && image.live.is_some());
        let host = hosts.iter().find(|host| host.id == known.host_id).unwrap();
        let engine = &wharf.engines[usize::from(host.name == "two")];
        until("the engine agrees with the database", async || {
            let there = engine.inspect(&known.image_id).await.unwrap().is_some();
            (there == held || (there && !known.brought)).then_some(())
        })
        .await;
    }
}
