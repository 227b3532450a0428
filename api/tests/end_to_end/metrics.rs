//! What `/metrics` of a gateway and of a worker says, after real requests and jobs.

use std::collections::BTreeMap;

use serde_json::json;
use wharfinger_entity::JobState;

use crate::observability;
use crate::support::graphql::{Client, id};
use crate::support::images::{pushed, stuck};
use crate::support::process::Process;
use crate::support::servers::Server;
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
        let client = process.anonymous();
        let text = client.get("/metrics").await.text().await.unwrap();
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((series, value)) = line.rsplit_once(' ') {
                values.insert(series.to_owned(), value.parse().unwrap());
            }
        }
        Self { values, text }
    }

    /// The value of the only series of this name that has these labels, a word each; none if there is none.
    pub(crate) fn get(&self, name: &str, labels: &str) -> Option<f64> {
        let has = |series: &str| labels.split_whitespace().all(|word| series.contains(word));
        let of_name = self.values.iter().filter(|(of, _)| name_of(of) == name);
        let found: Vec<_> = of_name.filter(|(series, _)| has(series)).collect();
        assert!(found.len() <= 1, "{name} {labels:?}: {found:?}");
        found.first().map(|(_, value)| **value)
    }

    /// Fails unless these series have these values.
    fn shows(&self, series: &[(&str, &str, f64)]) {
        for (name, labels, expected) in series {
            let found = self.get(name, labels);
            assert_eq!(found, Some(*expected), "{name} {labels}");
        }
    }

    /// Whether these series have these values.
    fn has(&self, series: &[(&str, &str, f64)]) -> bool {
        let mut series = series.iter();
        series.all(|(name, labels, expected)| self.get(name, labels) == Some(*expected))
    }

    /// The names of all series.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|series| name_of(series))
    }
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// The name of a metric, less what the exporter adds to a histogram's name.
pub(crate) fn base(name: &str) -> &str {
    let mut endings = ["_bucket", "_sum", "_count"].into_iter();
    let base = endings.find_map(|ending| name.strip_suffix(ending));
    base.unwrap_or(name)
}

#[tokio::test]
async fn requests_jobs_queues_and_parts_are_counted() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let (worker, gateway, client) = world.work_for("ada").await;
    let fresh = Scrape::of(&gateway).await;
    fresh.shows(&[("image_errors_total", "pull_image failed", 0.0)]);

    // Accepted and done; refused; accepted and dead; gone again.
    let reference = pushed(&world, 500_000).await;
    let job = client.pull(&reference).await;
    let image = id(&client.succeeded(&job).await["image"]);
    client.try_pull(json!({"reference": "NOT VALID"})).await;
    let dead = client.pull("127.0.0.1:1/nothing:v1").await;
    assert_eq!(client.ended(&dead).await["state"], "DEAD");
    let removal = client.remove(&image).await;
    client.succeeded(&id(&removal["job"])).await;

    let at_gateway = Scrape::of(&gateway).await;
    let duration = "image_response_duration_seconds_count";
    at_gateway.shows(&[
        ("image_request_total", "pull_image accepted", 2.0),
        ("image_request_total", "pull_image rejected", 1.0),
        ("image_request_total", "remove_image accepted", 1.0),
        ("image_errors_total", "pull_image rejected", 1.0),
        ("image_errors_total", "pull_image failed", 0.0),
        (duration, "pull_image accepted", 2.0),
    ]);
    // Nobody is named unless a setting allows.
    assert!(!at_gateway.text.contains("user=") && !at_gateway.text.contains(&reference));

    let at_worker = Scrape::of(&worker).await;
    let jobs = "wharfinger_jobs_total";
    let lives = "wharfinger_job_duration_seconds_count";
    let retries = "wharfinger_job_retries_total";
    let takeovers = "wharfinger_job_takeovers_total";
    at_worker.shows(&[
        (jobs, "pull_image succeeded error=\"none\"", 1.0),
        (jobs, "pull_image dead REGISTRY_UNAVAILABLE", 1.0),
        (jobs, "remove_image succeeded", 1.0),
        (retries, "REGISTRY_UNAVAILABLE", 1.0),
        (lives, "pull_image succeeded", 1.0),
        ("wharfinger_transfers_joined_total", "", 0.0),
        (takeovers, "pull_image", 0.0),
        ("wharfinger_engine_up", "", 1.0),
    ]);
    for phase in ["resolve", "record", "transfer", "inspect", "settle"] {
        let count = at_worker.get("wharfinger_pull_phase_seconds_count", phase);
        assert!(count >= Some(1.0), "{phase}: {count:?}");
    }
    assert!(at_worker.get("wharfinger_pulled_bytes_total", "") > Some(400_000.0));
    for scrape in [&at_gateway, &at_worker] {
        scrape.shows(&[("wharfinger_redis_up", "", 1.0)]);
        scrape.shows(&[("wharfinger_database_up", "", 1.0)]);
        let most = scrape.get("wharfinger_database_connections_max", "write");
        let open = |state| {
            scrape
                .get("wharfinger_database_connections", state)
                .unwrap()
        };
        let (idle, in_use) = (open("write idle"), open("write in_use"));
        assert!(
            idle >= 1.0 && Some(idle + in_use) <= most,
            "{}",
            scrape.text
        );
        described(scrape);
    }
    observability::shows_what_is_exported(&[at_gateway, at_worker]);
}

/// Fails unless every metric says what it means.
fn described(scrape: &Scrape) {
    for name in scrape.names() {
        let help = |name: &str| scrape.text.contains(&format!("# HELP {name} "));
        assert!(help(base(name)) || help(name), "{name} has no description");
    }
}

#[tokio::test]
async fn queues_dead_letters_and_watchers_are_shown_as_they_are() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "1");
    let (worker, gateway, client) = world.work_for("ada").await;
    let dead = client.pull("127.0.0.1:1/nothing:v1").await;
    assert_eq!(client.ended(&dead).await["state"], "DEAD");
    let (registry, job, progress) = stuck(&world, &client).await;

    let (of_host, running) = ("host=\"one\"", "host=\"one\" running");
    until("the scrape shows it", async || {
        let scrape = Scrape::of(&gateway).await;
        let shown = scrape.has(&[
            ("wharfinger_queue_jobs", running, 1.0),
            ("wharfinger_queue_jobs", "host=\"one\" queued", 0.0),
            ("wharfinger_dead_letters", of_host, 1.0),
            ("wharfinger_websocket_connections", "", 1.0),
            ("wharfinger_websocket_operations", "", 1.0),
        ]);
        (shown
            && scrape.get("wharfinger_queue_oldest_seconds", running) > Some(0.0)
            && scrape.get("wharfinger_live_subscribers", "") >= Some(1.0))
        .then_some(())
    })
    .await;

    registry.open();
    client.succeeded(&job).await;
    drop(progress);
    until("nobody watches and nothing runs", async || {
        let shown = Scrape::of(&gateway).await.has(&[
            ("wharfinger_queue_jobs", running, 0.0),
            ("wharfinger_websocket_connections", "", 0.0),
            ("wharfinger_websocket_operations", "", 0.0),
        ]);
        shown.then_some(())
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
    let gateway = world.serve().await;
    let reference = pushed(&world, 1000).await;
    for token in &tokens {
        gateway.client(token).pull(&reference).await;
    }
    let scrape = Scrape::of(&gateway).await;
    for user in ["ada", "bob", "other"] {
        let labels = format!("accepted user=\"{user}\" image=\"{reference}\"");
        scrape.shows(&[("image_request_total", &labels, 1.0)]);
        scrape.shows(&[("image_response_duration_seconds_count", &labels, 1.0)]);
    }
    assert!(!scrape.text.contains("\"eve\""));
}

/// More than a dispatcher's own statements in the time of a test.
const SCRAPES: usize = 500;

#[tokio::test]
async fn scraping_often_asks_the_database_no_more() {
    let mut world = World::fleet(Server::Postgres).await;
    let proxy = world.behind_proxy().await;
    let gateway = world.gateway().await;
    let client = gateway.anonymous();
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
        let away = Scrape::of(&worker).await.has(&[
            ("wharfinger_redis_up", "", 0.0),
            ("wharfinger_engine_up", "", 0.0),
        ]);
        away.then_some(())
    })
    .await;
    world.redis.as_mut().unwrap().up().await;
    until("Redis is shown as back", async || {
        let scrape = Scrape::of(&worker).await;
        let back = scrape.has(&[("wharfinger_redis_up", "", 1.0)]);
        back.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_take_over_is_counted() {
    let world = World::fleet(Server::Postgres).await;
    let (mut first, gateway, client) = world.work_for("ada").await;
    let (registry, job, _progress) = stuck(&world, &client).await;
    first.crash();
    registry.open();
    let second = world.worker().await;
    client.succeeded(&job).await;
    let mut taken = 0.0;
    for process in [&gateway, &second] {
        let scrape = Scrape::of(process).await;
        let takeovers = scrape.get("wharfinger_job_takeovers_total", "pull_image");
        taken += takeovers.unwrap();
    }
    assert_eq!(taken.to_string(), "1");
    let db = books::database(&world).await;
    assert_eq!(books::job_states(&db).await, [JobState::Succeeded]);
}

#[tokio::test]
async fn metrics_are_on_a_listener_of_their_own_where_it_is_set() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_METRICS__LISTEN", "127.0.0.1:0");
    for process in [world.gateway().await, world.worker().await] {
        let own = process.announced("metrics are on http://").await;
        let (main, own) = (process.anonymous(), Client::new(&own, None));
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
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for address in [&taken, "metrics"] {
        world.set("WHARFINGER_METRICS__LISTEN", address);
        for command in ["serve", "worker"] {
            let said = world.refused(&[command]);
            assert!(said.contains("WHARFINGER_METRICS__LISTEN"), "{said}");
        }
    }
}
