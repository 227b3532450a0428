//! Secrets never appear in what the program says: not at log level trace, and not in errors of connecting.

use serde_json::json;

use crate::crashes::pushed;
use crate::log_files;
use crate::support::graphql::Client;
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// Secrets that are found nowhere by accident.
const DATABASE: &str = "databasehunter2";
const COLLECTOR: &str = "collectorhunter2";
const HEADER: &str = "headerhunter2";
const KEY: &str = "keyhunter2keyhunter2keyhunter2keyhunter2";
const REGISTRY: &str = "registryhunter2";
const WRONG: &str = "whf_thisisnotatokenatall0123456789";

#[tokio::test]
async fn no_secret_is_in_any_log_at_any_level() {
    let mut world = World::fleet(Server::Postgres).await;
    let url = world
        .database_url()
        .replace("//postgres@", &format!("//postgres:{DATABASE}@"));
    assert!(url.contains(DATABASE));
    world.set("DATABASE_URL", &url);
    world.set("WHARFINGER_LOG", "trace");
    world.set("WHARFINGER_SECRET_KEY", KEY);
    world.set(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        &format!("http://me:{COLLECTOR}@127.0.0.1:1"),
    );
    world.set(
        "OTEL_EXPORTER_OTLP_HEADERS",
        &format!("authorization=Bearer {HEADER}"),
    );
    world.set("OTEL_BSP_SCHEDULE_DELAY", "100");
    let token = world.user("ada", &[]);
    let mut worker = world.worker().await;
    let mut gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;

    // The right token, a wrong one, over HTTP and over WebSockets.
    let job = client.pull(&pushed(&world, 100_000).await).await;
    Subscription::progress(&client, &job).await.rest().await;
    client.succeeded(&job).await;
    let (status, _) = Client::new(&gateway.address, Some(WRONG))
        .send("{ balance { total } }", json!({}))
        .await;
    assert_eq!(status, 401);
    refused_on_a_socket(&gateway).await;
    // A registry's password, where somebody put it into the reference.
    let host = &world.registry.address;
    for reference in [
        format!("ada:{REGISTRY}@{host}/x:v1"),
        format!("http://ada:{REGISTRY}@{host}/x:v1"),
        format!("{host}/x:v1?password={REGISTRY}"),
    ] {
        let payload = client.try_pull(json!({"reference": reference})).await;
        assert_eq!(
            payload["userErrors"][0]["code"], "INVALID_REFERENCE",
            "{payload}"
        );
    }
    worker.logged("traces cannot be sent").await;
    for process in [&mut worker, &mut gateway] {
        process.terminate();
        assert!(process.ended().await.success());
    }

    let mut said = log_files::lines(&world);
    assert!(said.len() > 100, "{}", said.len());
    said.extend(worker.said());
    said.extend(gateway.said());
    // Libraries are listened to, except where they print whole messages.
    let by = |library: &str| said.iter().any(|line| line.contains(library));
    assert!(by("\"target\":\"bollard") && by("\"level\":\"DEBUG\""));
    for secret in [&token, DATABASE, COLLECTOR, HEADER, KEY, REGISTRY, WRONG] {
        for line in &said {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}

/// A WebSocket whose `connection_init` has a wrong token.
async fn refused_on_a_socket(gateway: &Process) {
    let client = Client::new(&gateway.address, Some(WRONG));
    assert!(Subscription::is_refused(&client).await);
}

#[tokio::test]
async fn what_stops_the_start_names_no_password() {
    let secret = "starthunter2";
    let settings = [
        (
            "DATABASE_URL",
            format!("postgres://u:{secret}@127.0.0.1:1/x"),
        ),
        (
            "DATABASE_URL",
            format!("postgres://u:{secret}@127.0.0.1:port/x"),
        ),
        (
            "DATABASE_URL",
            format!("postgres://u:{secret}@no.such.host.invalid/x"),
        ),
        ("DATABASE_URL", format!("mysql://u:{secret}@127.0.0.1:1/x")),
        ("DATABASE_URL", format!("oracle://u:{secret}@127.0.0.1/x")),
        ("REDIS_URL", format!("redis://:{secret}@127.0.0.1:port")),
        ("REDIS_URL", format!("http://:{secret}@127.0.0.1:1")),
        (
            "REDIS_URL",
            format!("redis://:{secret}@127.0.0.1:1/notanumber"),
        ),
        ("DOCKER_HOST", format!("tcp://u:{secret}@127.0.0.1:1")),
        ("DOCKER_HOST", format!("ssh://u:{secret}@127.0.0.1:1")),
        (
            "WHARFINGER_REGISTRIES__ALLOW",
            format!("u:{secret}@127.0.0.1"),
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("ftp://u:{secret}@127.0.0.1:1"),
        ),
    ];
    // Side by side: a database that does not answer is waited for.
    let mut runs = Vec::new();
    for (name, value) in settings {
        runs.push(tokio::task::spawn_blocking(move || {
            let mut world = World::embedded();
            world.set(name, &value);
            (value, world.run(&["serve"]))
        }));
    }
    for run in runs {
        let (value, output) = run.await.unwrap();
        assert!(!output.status.success(), "{value} was taken");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("wharfinger: "), "{value}: {said}");
        assert!(!said.contains(secret), "{value}: {said}");
    }
}
