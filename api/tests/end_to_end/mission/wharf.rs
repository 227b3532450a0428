//! The engines as their operators see them, the images that go there, and what must hold of both in the end.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _,
};
use serde_json::{Value, json};
use wharfinger_entity::{Credits, engine_image, host, image, sweep_run};
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::infra::db::Db;
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
        json!(Credits::from_micro(credits * 1_000_000 - self.size).to_string())
    }
}

/// Both engines. Other tests use them as well: only what is pushed here is looked at.
pub(crate) struct Wharf([Engine; 2]);

impl Wharf {
    pub(crate) fn open() -> Self {
        Self([1, 2].map(|number| Engine::connect(Some(&engine(number))).unwrap()))
    }

    /// Whether an engine has an image.
    pub(crate) async fn has(&self, number: usize, cargo: &Cargo) -> bool {
        let found = self.0[number - 1].inspect(&cargo.id).await;
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

/// A schedule whose last instant was an hour ago.
pub(crate) fn daily_an_hour_ago() -> String {
    let hour = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    hour.format("%-M %-H * * *").to_string()
}

/// The clean-up that is noted becomes that of the day before, as if it were a day later.
pub(crate) async fn a_night_passes(world: &World) {
    let db = Db::connect(&world.database_url()).await.unwrap();
    let runs = sweep_run::Entity::find().all(db.read()).await.unwrap();
    let [noted] = &runs[..] else {
        panic!("{runs:?}");
    };
    let earlier = sweep_run::ActiveModel {
        id: Set(noted.id),
        scheduled_at: Set(noted.scheduled_at.before(Duration::from_hours(24))),
        ..Default::default()
    };
    earlier.update(db.write()).await.unwrap();
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

/// Invariants 1 to 3 in the database, and 4 between it and the engines: of what was pushed, what is held is there, and
/// nothing else.
pub(crate) async fn in_order(world: &World, wharf: &Wharf, pushed: &[&Cargo]) {
    let db = Db::connect(&world.database_url()).await.unwrap();
    check_invariants(&db).await;
    let hosts = host::Entity::find().all(db.read()).await.unwrap();
    let held = image::Entity::find().find_also_related(engine_image::Entity);
    let held = held.filter(image::Column::Live.eq(1));
    let held = held.all(db.read()).await.unwrap();
    for (number, name) in [(1, "one"), (2, "two")] {
        let host = hosts.iter().find(|host| host.name == name).unwrap();
        let of_host = held.iter().filter(|(image, _)| image.host_id == host.id);
        let ids = of_host.map(|(_, known)| known.as_ref().unwrap().image_id.as_str());
        let expected: BTreeSet<&str> = ids.collect();
        assert!(!expected.is_empty(), "something is held on {name}");
        until("the engine agrees with the database", async || {
            let mut there = BTreeSet::new();
            for cargo in pushed {
                if wharf.has(number, cargo).await {
                    there.insert(cargo.id.as_str());
                }
            }
            (there == expected).then_some(())
        })
        .await;
    }
}
