//! Connections to the database that fall silent in the middle. New ones are made, and all goes on within a bound.

use std::time::Duration;

use sea_orm::{Database, DatabaseConnection, EntityTrait as _};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use wharfinger_entity::host;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::testing::silent_proxy::SilentProxy;

use super::scene::{HEARTBEAT, SLACK, Scene};
use crate::support::servers::Server;
use crate::support::world::World;

/// How long the answer to a statement of the background is waited for, and that of an idle connection before its next statement
/// (`jobs/src/infra/db/deadlines.rs`).
const BACKGROUND: Duration = Duration::from_secs(12 + 2);

/// The longest time that the host was not heard of. Looks past the proxy until it is dropped.
struct Hearing {
    longest: tokio::sync::watch::Receiver<Duration>,
    _looking: AbortOnDropHandle<()>,
}

impl Hearing {
    fn start(db: DatabaseConnection) -> Self {
        let (told, longest) = tokio::sync::watch::channel(Duration::ZERO);
        let looking = async move {
            let clock = Clock::system();
            loop {
                let host = host::Entity::find().one(&db).await.unwrap().unwrap();
                let silent = clock.now().since(host.last_seen_at.unwrap());
                told.send_if_modified(|longest| {
                    let longer = silent > *longest;
                    *longest = silent.max(*longest);
                    longer
                });
                sleep(Duration::from_millis(100)).await;
            }
        };
        Self {
            longest,
            _looking: AbortOnDropHandle::new(tokio::spawn(looking)),
        }
    }

    fn longest(&self) -> Duration {
        *self.longest.borrow()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_silent_connections_to_postgres() {
    silent_database(Server::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_silent_connections_to_mariadb() {
    silent_database(Server::MariaDb).await;
}

async fn silent_database(server: Server) {
    let mut world = World::fleet(server).await;
    let direct = world.database_url();
    let (proxy, through) = SilentProxy::of_url(&direct).await;
    world.set("DATABASE_URL", &through);
    let mut scene = Scene::begin(world).await;
    let hearing = Hearing::start(Database::connect(direct).await.unwrap());

    proxy.silence_open();
    scene.requests_are_answered(Duration::from_secs(6)).await;
    scene.ends_well_within(Duration::from_secs(30)).await;
    let longest = hearing.longest();
    let bound = BACKGROUND + HEARTBEAT + SLACK;
    assert!(longest < bound, "the host was not heard of for {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_a_database_that_is_silent_to_everyone() {
    let mut world = World::fleet(Server::Postgres).await;
    let (proxy, through) = SilentProxy::of_url(&world.database_url()).await;
    world.set("DATABASE_URL", &through);
    let mut scene = Scene::begin(world).await;

    proxy.silence_all();
    scene.requests_are_answered(Duration::from_secs(6)).await;
    proxy.let_new_pass();
    scene.ends_well_within(Duration::from_secs(30)).await;
}
