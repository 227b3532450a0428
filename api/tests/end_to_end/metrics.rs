//! What `/metrics` of a gateway and of a worker says, after real requests and jobs.

use std::collections::BTreeMap;

use serde_json::json;
use wharfinger_entity::JobState;

use crate::support::graphql::Client;
use crate::support::images::{pushed, stuck};
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::world::World;
use crate::support::{books, until};

/// One scrape.
pub(crate) struct Scrape {
    /// By name with labels, as it is written.
    values: BTreeMap<String, f64>,
    text: String,
}

impl Scrape {
    pub(crate) async fn of(process: &Process) -> Self {
        let client = Client::new(&process.address, None);
        let text = client.get("/metrics").await.text().await.unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let values = lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect();
        Self { values, text }
    }

    /// The value of the only series of this name that has these labels; none if there is none.
    pub(crate) fn get(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let found: Vec<_> = self
            .values
            .iter()
            .filter(|(series, _)| name_of(series) == name)
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .collect();
        assert!(found.len() <= 1, "{name} {labels:?}: {found:?}");
        found.first().map(|(_, value)| **value)
    }

    /// The names of all series.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|series| name_of(series))
    }
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn requests_jobs_queues_and_parts_are_counted() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let fresh = Scrape::of(&gateway).await;
    assert_eq!(
        fresh.get("image_errors_total", &["pull_image", "failed"]),
        Some(0.0)
    );

    // Accepted and done; refused; accepted and dead; gone again.
    let reference = pushed(&world, 500_000).await;
    let job = client.pull(&reference).await;
    let image = client.succeeded(&job).await["image"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    client.try_pull(json!({"reference": "NOT VALID"})).await;
    let dead = client.pull("127.0.0.1:1/nothing:v1").await;
    assert_eq!(client.ended(&dead).await["state"], "DEAD");
    let removal = client.remove(&image).await;
    client
        .succeeded(removal["job"]["id"].as_str().unwrap())
        .await;

    let at_gateway = Scrape::of(&gateway).await;
    let requests = |labels: &[&str]| at_gateway.get("image_request_total", labels);
    assert_eq!(
        requests(&["operation=\"pull_image\"", "accepted"]),
        Some(2.0)
    );
    assert_eq!(
        requests(&["operation=\"pull_image\"", "rejected"]),
        Some(1.0)
    );
    assert_eq!(
        requests(&["operation=\"remove_image\"", "accepted"]),
        Some(1.0)
    );
    let errors = |status| {
        at_gateway
            .get("image_errors_total", &["pull_image", status])
            .unwrap()
    };
    assert_eq!((errors("rejected"), errors("failed")), (1.0, 0.0));
    let timed = at_gateway.get(
        "image_response_duration_seconds_count",
        &["pull_image", "accepted"],
    );
    assert_eq!(timed, Some(2.0));
    // Nobody is named unless a setting allows.
    assert!(!at_gateway.text.contains("user=") && !at_gateway.text.contains(&reference));

    let at_worker = Scrape::of(&worker).await;
    let ended = |labels: &[&str]| at_worker.get("wharfinger_jobs_total", labels);
    assert_eq!(
        ended(&["pull_image", "succeeded", "error=\"none\""]),
        Some(1.0)
    );
    assert_eq!(
        ended(&["pull_image", "dead", "REGISTRY_UNAVAILABLE"]),
        Some(1.0)
    );
    assert_eq!(ended(&["remove_image", "succeeded"]), Some(1.0));
    let retries = at_worker.get("wharfinger_job_retries_total", &["REGISTRY_UNAVAILABLE"]);
    assert_eq!(retries, Some(1.0));
    for phase in ["resolve", "record", "transfer", "inspect", "settle"] {
        let count = at_worker.get("wharfinger_pull_phase_seconds_count", &[phase]);
        assert!(count >= Some(1.0), "{phase}: {count:?}");
    }
    let life = at_worker.get(
        "wharfinger_job_duration_seconds_count",
        &["pull_image", "succeeded"],
    );
    assert_eq!(life, Some(1.0));
    assert!(at_worker.get("wharfinger_pulled_bytes_total", &[]) > Some(400_000.0));
    assert_eq!(
        at_worker.get("wharfinger_transfers_joined_total", &[]),
        Some(0.0)
    );
    assert_eq!(
        at_worker.get("wharfinger_job_takeovers_total", &["pull_image"]),
        Some(0.0)
    );
    assert_eq!(at_worker.get("wharfinger_engine_up", &[]), Some(1.0));
    for scrape in [&at_gateway, &at_worker] {
        assert_eq!(scrape.get("wharfinger_redis_up", &[]), Some(1.0));
        assert_eq!(scrape.get("wharfinger_database_up", &[]), Some(1.0));
        let most = scrape
            .get("wharfinger_database_connections_max", &["write"])
            .unwrap();
        let open = |state| {
            scrape
                .get("wharfinger_database_connections", &["write", state])
                .unwrap()
        };
        assert!(
            open("idle") + open("in_use") <= most && open("idle") >= 1.0,
            "{}",
            scrape.text
        );
        described(scrape);
    }
}

/// Fails unless every metric says what it means.
fn described(scrape: &Scrape) {
    for name in scrape.names() {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        let help = |name: &str| scrape.text.contains(&format!("# HELP {name} "));
        assert!(help(base) || help(name), "{name} has no description");
    }
}

#[tokio::test]
async fn queues_dead_letters_and_watchers_are_shown_as_they_are() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "1");
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let dead = client.pull("127.0.0.1:1/nothing:v1").await;
    assert_eq!(client.ended(&dead).await["state"], "DEAD");
    let (registry, job, progress) = stuck(&world, &client).await;

    until("the scrape shows it", async || {
        let scrape = Scrape::of(&gateway).await;
        let jobs = |state| scrape.get("wharfinger_queue_jobs", &["host=\"one\"", state]);
        let age = scrape.get(
            "wharfinger_queue_oldest_seconds",
            &["host=\"one\"", "running"],
        );
        (jobs("running") == Some(1.0)
            && jobs("queued") == Some(0.0)
            && age > Some(0.0)
            && scrape.get("wharfinger_dead_letters", &["host=\"one\""]) == Some(1.0)
            && scrape.get("wharfinger_websocket_connections", &[]) == Some(1.0)
            && scrape.get("wharfinger_websocket_operations", &[]) == Some(1.0)
            && scrape.get("wharfinger_live_subscribers", &[]) >= Some(1.0))
        .then_some(())
    })
    .await;

    registry.open();
    client.succeeded(&job).await;
    drop(progress);
    until("nobody watches and nothing runs", async || {
        let scrape = Scrape::of(&gateway).await;
        let running = scrape.get("wharfinger_queue_jobs", &["host=\"one\"", "running"]);
        let open = scrape.get("wharfinger_websocket_connections", &[]);
        let operations = scrape.get("wharfinger_websocket_operations", &[]);
        (running == Some(0.0) && open == Some(0.0) && operations == Some(0.0)).then_some(())
    })
    .await;
    drop(worker);
}

#[tokio::test]
async fn users_and_images_are_told_apart_where_a_setting_allows_up_to_a_limit() {
    let mut world = World::embedded();
    world.set("WHARFINGER_METRICS__PER_USER", "true");
    world.set("WHARFINGER_METRICS__PER_IMAGE", "true");
    world.set("WHARFINGER_METRICS__MOST_VALUES", "2");
    let tokens = ["ada", "bob", "eve"].map(|name| world.user(name, &[]));
    let gateway = world.serve(&engine(1)).await;
    let reference = pushed(&world, 1000).await;
    for token in &tokens {
        World::client(&gateway, token).pull(&reference).await;
    }
    let scrape = Scrape::of(&gateway).await;
    let image = format!("image=\"{reference}\"");
    for user in ["ada", "bob", "other"] {
        let user = format!("user=\"{user}\"");
        let count = scrape.get("image_request_total", &["accepted", &user, &image]);
        assert_eq!(count, Some(1.0), "{user}");
        let timed = scrape.get(
            "image_response_duration_seconds_count",
            &["accepted", &user, &image],
        );
        assert_eq!(timed, Some(1.0), "{user}");
    }
    assert!(!scrape.text.contains("\"eve\""));
}

/// More than a dispatcher's own statements in the time of a test.
const SCRAPES: usize = 2_000;

#[tokio::test]
async fn scraping_often_asks_the_database_no_more() {
    let mut world = World::fleet(Server::Postgres).await;
    let direct = world.database_url();
    let proxy = PostgresProxy::start(&direct).await;
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    let client = Client::new(&gateway.address, None);
    let before = proxy.executed();
    for _ in 0..SCRAPES {
        assert_eq!(client.get("/metrics").await.status(), 200);
    }
    let statements = proxy.executed() - before;
    assert!(statements < SCRAPES / 2, "{statements} statements");
}

#[tokio::test]
async fn a_scrape_tells_that_redis_and_the_engine_are_away() {
    let mut world = World::fleet(Server::Postgres).await;
    let worker = world.worker_at("one", "tcp://127.0.0.1:1").await;
    world.redis.as_mut().unwrap().kill();
    until("Redis is shown as away", async || {
        let scrape = Scrape::of(&worker).await;
        (scrape.get("wharfinger_redis_up", &[]) == Some(0.0)
            && scrape.get("wharfinger_engine_up", &[]) == Some(0.0))
        .then_some(())
    })
    .await;
    world.redis.as_mut().unwrap().up().await;
    until("Redis is shown as back", async || {
        let scrape = Scrape::of(&worker).await;
        (scrape.get("wharfinger_redis_up", &[]) == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_take_over_is_counted() {
    let world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let mut first = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let (registry, job, _progress) = stuck(&world, &client).await;
    first.crash();
    registry.open();
    let second = world.worker().await;
    client.succeeded(&job).await;
    let mut taken = Vec::new();
    for process in [&gateway, &second] {
        let scrape = Scrape::of(process).await;
        taken.push(
            scrape
                .get("wharfinger_job_takeovers_total", &["pull_image"])
                .unwrap(),
        );
    }
    assert_eq!(taken.iter().sum::<f64>().to_string(), "1", "{taken:?}");
    let db = books::database(&world).await;
    assert_eq!(books::job_states(&db).await, [JobState::Succeeded]);
}

#[tokio::test]
async fn metrics_are_on_a_listener_of_their_own_where_it_is_set() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_METRICS__LISTEN", "127.0.0.1:0");
    for process in [world.gateway().await, world.worker().await] {
        let own = process.announced("metrics are on http://").await;
        let (main, own) = (Client::new(&process.address, None), Client::new(&own, None));
        assert_eq!(main.get("/metrics").await.status(), 404);
        assert!(main.get("/healthz").await.status().is_success());
        let scraped = own.get("/metrics").await;
        assert_eq!(scraped.headers()["x-content-type-options"], "nosniff");
        let scraped = scraped.text().await.unwrap();
        assert!(scraped.contains("wharfinger_build_info"), "{scraped}");
        for elsewhere in ["/healthz", "/graphql", "/"] {
            assert_eq!(own.get(elsewhere).await.status(), 404, "{elsewhere}");
        }
    }
    // A port that is taken, and what is no address.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [
        taken.local_addr().unwrap().to_string(),
        "metrics".to_owned(),
    ] {
        world.set("WHARFINGER_METRICS__LISTEN", &address);
        for command in ["serve", "worker"] {
            let refused = world.run(&[command]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success(), "{said}");
            assert!(said.contains("WHARFINGER_METRICS__LISTEN"), "{said}");
        }
    }
}
