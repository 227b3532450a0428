//! The database's disk is full while pulls run. Nothing is acknowledged that is not stored, and once there is space all goes
//! on without a restart.

use std::time::Duration;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, Database, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use wharfinger_entity::ledger_entry;
use wharfinger_jobs::testing::small_disk::SmallDisk;

use crate::support::graphql::{Client, done, id, mutation};
use crate::support::images::push;
use crate::support::own_server::DiskServer;
use crate::support::process::Process;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::world::World;
use crate::support::{books, until};

/// How long the disk is full: longer than the lease of a running pull.
const FULL: Duration = Duration::from_secs(3);

/// Grants at a time: a server has some space in its files still.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn a_full_disk_under_sqlite_loses_nothing_and_passes() {
    let disk = SmallDisk::mount(24);
    let mut world = World::embedded();
    let data_dir = disk.path().join("data");
    world.set("WHARFINGER_DATA_DIR", &data_dir.display().to_string());
    let mut scene = Scene::begin(world).await;
    disk.fill();
    scene.refused_on_the_full_disk(1).await;
    scene.is_unready().await;
    disk.free();
    scene.goes_on().await;
}

/// PostgreSQL panics where its log cannot grow, and may not come up again before there is space.
#[tokio::test]
async fn a_full_disk_under_postgres_loses_nothing_and_passes() {
    let server = DiskServer::start("postgres", 96);
    let mut world = World::embedded();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port());
    world.set("DATABASE_URL", &url);
    let mut scene = Scene::begin(world).await;
    server.disk.fill();
    scene.refused_on_the_full_disk(1).await;
    use_up_the_log(&url).await;
    scene.is_unready().await;
    server.disk.free();
    server.start_again();
    scene.goes_on().await;
}

/// MariaDB has room for some thousand jobs in its files.
#[tokio::test]
async fn a_full_disk_under_mariadb_loses_nothing_and_passes() {
    let server = DiskServer::start("mariadb", 160);
    let mut world = World::embedded();
    let url = format!("mysql://root@127.0.0.1:{}", server.port());
    let db = Database::connect(format!("{url}/mysql")).await.unwrap();
    db.execute_unprepared("CREATE DATABASE wharfinger")
        .await
        .unwrap();
    db.close().await.unwrap();
    world.set("DATABASE_URL", &format!("{url}/wharfinger"));
    let mut scene = Scene::begin(world).await;
    server.disk.fill();
    scene.refused_on_the_full_disk(0).await;
    server.disk.free();
    server.start_again();
    scene.goes_on().await;
}

/// Asks PostgreSQL for new segments of its log until it fails.
async fn use_up_the_log(url: &str) {
    let db = Database::connect(url).await.unwrap();
    until("the log cannot grow", async || {
        // A segment that holds nothing is not left.
        let switch = "SELECT pg_logical_emit_message(false, 'wharfinger', 'x'), pg_switch_wal()";
        db.execute_unprepared(switch).await.err()
    })
    .await;
}

/// One process with pulls under way.
struct Scene {
    world: World,
    gateway: Process,
    registry: RegistryProxy,
    root: Client,
    ada: Client,
    ada_id: String,
    /// A token of bob.
    bob: String,
    /// An image that is asked for on the full disk.
    small: String,
    engine: DiskServer,
    accepted: Vec<String>,
    grants: usize,
}

impl Scene {
    /// Eight pulls are in the middle of their bytes.
    async fn begin(mut world: World) -> Self {
        world.set("WHARFINGER_WORKER__CONCURRENCY", "8");
        let root = world.user("root", &["--admin"]);
        let ada = world.user("ada", &["--credits", "1000000"]);
        let bob = world.user("bob", &[]);
        let registry = RegistryProxy::start(&world.registry.address, 1_000_000).await;
        let mut images = Vec::new();
        for _ in 0..8 {
            let image = push(&world, 2_000_000).await;
            images.push(format!("{}/{image}", registry.address));
        }
        let small = format!("{}/{}", world.registry.address, push(&world, 10_000).await);
        // Its own, because pulls that stand still keep an engine's few places for downloads.
        let engine = DiskServer::start("engine", 512);
        let gateway = world.serve_at(&engine.docker_host()).await;
        let (root, ada) = (gateway.client(&root), gateway.client(&ada));
        let ada_id = ada.viewer_id().await;
        let mut accepted = Vec::new();
        for image in &images {
            accepted.push(ada.pull(image).await);
        }
        for job in &accepted {
            ada.runs(job).await;
        }
        Self {
            world,
            gateway,
            registry,
            root,
            ada,
            ada_id,
            bob,
            small,
            engine,
            accepted,
            grants: 0,
        }
    }

    /// Asks for more all the time that the disk is full, until a grant and so many pulls were refused. Some of it may fit into
    /// the space that the database's files have.
    async fn refused_on_the_full_disk(&mut self, least_pulls: usize) {
        let start = Instant::now();
        let (mut refused_pulls, mut refused_grants) = (0, 0);
        while start.elapsed() < FULL || refused_pulls < least_pulls || refused_grants == 0 {
            assert!(
                start.elapsed() < crate::support::DEADLINE,
                "refused on a full disk: {refused_pulls} pulls and {refused_grants} of {} grants",
                self.grants
            );
            match accepted(&self.pull_small().await, "pullImage") {
                Some(payload) => self.accepted.push(id(&payload["job"])),
                None => refused_pulls += 1,
            }
            let first = self.grants + 1;
            self.grants += AT_ONCE;
            let granting = (first..=self.grants).map(|number| self.grant(number));
            for answer in futures::future::join_all(granting).await {
                refused_grants += usize::from(accepted(&answer, "grantCredits").is_none());
            }
        }
    }

    async fn is_unready(&self) {
        until("/readyz fails", async || {
            (self.ada.get("/readyz").await.status() == 503).then_some(())
        })
        .await;
    }

    async fn pull_small(&self) -> Value {
        let query = mutation("pullImage", "job { id }");
        let input = json!({"reference": self.small});
        self.ada.send(&query, json!({"input": input})).await.1
    }

    async fn grant(&self, number: usize) -> Value {
        let query = mutation("grantCredits", "");
        let key = grant_key(number);
        let input =
            json!({"userId": self.ada_id, "amount": "1", "reason": key, "idempotencyKey": key});
        self.root.send(&query, json!({"input": input})).await.1
    }

    /// With space again all is done, and lasts.
    async fn goes_on(mut self) {
        until("/readyz is well again", async || {
            (self.ada.get("/readyz").await.status() == 200).then_some(())
        })
        .await;
        self.registry.open();
        for job in &self.accepted {
            self.succeeds(job).await;
        }
        for number in 1..=self.grants {
            let answer = self.grant(number).await;
            assert!(accepted(&answer, "grantCredits").is_some(), "{answer}");
        }
        let token = self.changes_of_users().await;

        self.gateway.crash();
        self.gateway = self.world.serve_at(&self.engine.docker_host()).await;
        let ada = self.gateway.client(&token);
        for job in &self.accepted {
            ada.succeeded(job).await;
        }
        let root = self.gateway.client(self.root.token.as_deref().unwrap());
        let users = "{ users { nodes { name status } } }";
        let users = root.ask(users, json!({})).await["users"].take();
        let users = users["nodes"].as_array().unwrap();
        for (name, status) in [("carol", "ACTIVE"), ("bob", "BANNED")] {
            let user = json!({"name": name, "status": status});
            assert!(users.contains(&user), "{users:?}");
        }
        assert_eq!(self.gateway.client(&self.bob).status().await, 401);
        self.every_grant_happened_once().await;
        books::in_order_in_database(&self.world).await;
    }

    /// Waits until a job succeeded. PostgreSQL may close connections once more as it recovers, which a request is told of.
    async fn succeeds(&self, job: &str) {
        let query = "query($id: ID!) { job(id: $id) { state error { code } } }";
        let ended = until(&format!("{job} ends"), async || {
            let (_, answer) = self.ada.send(query, json!({"id": job})).await;
            if let Some(errors) = answer.get("errors") {
                assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{answer}");
                return None;
            }
            let job = answer["data"]["job"].clone();
            let live = ["QUEUED", "RUNNING", "RETRYING"].map(Value::from);
            (!live.contains(&job["state"])).then_some(job)
        })
        .await;
        assert_eq!(ended["state"], "SUCCEEDED", "{ended}");
    }

    /// Makes carol, bans bob, and returns a new token of ada.
    async fn changes_of_users(&self) -> String {
        done(&self.root, "createUser", json!({"name": "carol"}), "").await;
        let bob = self.gateway.client(&self.bob);
        self.root.ban(&bob.viewer_id().await).await;
        assert_eq!(bob.status().await, 401);
        let token = json!({"name": "new"});
        let made = done(&self.ada, "createApiToken", token, "secret").await;
        made["secret"].as_str().unwrap().to_owned()
    }

    async fn every_grant_happened_once(&self) {
        let db = books::database(&self.world).await;
        for number in 1..=self.grants {
            let of_grant = ledger_entry::Column::Reason.eq(grant_key(number));
            let entries = ledger_entry::Entity::find().filter(of_grant);
            assert_eq!(entries.count(&db).await.unwrap(), 1, "grant {number}");
        }
    }
}

fn grant_key(number: usize) -> String {
    format!("grant {number} {}", "x".repeat(200))
}

/// The payload of a mutation that was done; none where it was refused, which has to be as UNAVAILABLE.
fn accepted(answer: &Value, field: &str) -> Option<Value> {
    if let Some(errors) = answer.get("errors") {
        assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{answer}");
        return None;
    }
    let payload = answer["data"][field].clone();
    assert_eq!(payload["userErrors"], json!([]), "{answer}");
    Some(payload)
}
