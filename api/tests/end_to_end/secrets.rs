//! Secrets never appear in what the program says: not at log level trace, and not in errors of connecting.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use crate::log_files;
use crate::support::graphql::{Client, done, id, mutate};
use crate::support::images::pushed;
use crate::support::process::Process;
use crate::support::servers::{Server, random_layer, unique_name};
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
    let root = world.user("root", &["--admin"]);
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
    let more = accounts_and_logins(&gateway, &root).await;
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
    let mut secrets = vec![
        &token, &root, DATABASE, COLLECTOR, HEADER, KEY, REGISTRY, WRONG,
    ];
    secrets.extend(more.iter().map(String::as_str));
    for secret in secrets {
        for line in &said {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}

/// Everything that people do with passwords, tokens, cookies and logins. Returns the secrets, in the order of their use.
async fn accounts_and_logins(gateway: &Process, root: &str) -> Vec<String> {
    let [first, second, third, wrong] = [
        "first-hunter2-of-eve",
        "second-hunter2-of-hers",
        "third-hunter2-of-hers",
        "wrong-hunter2-of-hers",
    ];
    let root = Client::new(&gateway.address, Some(root));
    let nobody = Client::new(&gateway.address, None);
    let input = json!({"name": "bob", "password": first});
    let made = done(&root, "createUser", input, "user { id }").await;
    let input = json!({"name": "bob", "password": wrong});
    let refused = mutate(&nobody, "signIn", input, "token").await;
    assert_eq!(refused["token"], Value::Null);
    let input = json!({"name": "bob", "password": first});
    let signed_in = done(&nobody, "signIn", input, "token").await;
    let session = signed_in["token"].as_str().unwrap().to_owned();
    let input = json!({"current": first, "new": second});
    let bob = Client::new(&gateway.address, Some(&session));
    done(&bob, "changePassword", input, "user { id }").await;
    let input = json!({"userId": id(&made["user"]), "password": third});
    done(&root, "updateUser", input, "user { id }").await;
    // That ended the session: another one, as a browser has it.
    let input = json!({"name": "bob", "password": third});
    let again = done(&nobody, "signIn", input, "token").await;
    let again = again["token"].as_str().unwrap().to_owned();
    let browser = nobody
        .with_header("cookie", &format!("whf_session={again}"))
        .with_header("origin", &format!("http://{}", gateway.address));
    let input = json!({"name": "a script"});
    let script = done(&browser, "createApiToken", input, "secret").await;
    let script = script["secret"].as_str().unwrap().to_owned();
    // A private image, with the right password and with a wrong one; the registry's own tokens come on top.
    let registry = TestRegistry::with_password();
    let name = unique_name();
    registry
        .push_layers(&name, "1", vec![random_layer(1000)])
        .await;
    let bob = Client::new(&gateway.address, Some(&script));
    for (password, state) in [(wrong, "FAILED"), (PASSWORD, "SUCCEEDED")] {
        let input = json!({"registry": registry.address, "username": USERNAME, "secret": password});
        done(
            &bob,
            "saveRegistryCredential",
            input,
            "registryCredential { id }",
        )
        .await;
        let job = bob.pull(&format!("{}/{name}:1", registry.address)).await;
        assert_eq!(bob.ended(&job).await["state"], state);
    }
    let basic = |password: &str| BASE64_STANDARD.encode(format!("{USERNAME}:{password}"));
    let mut secrets = vec![basic(PASSWORD), basic(wrong), session, again, script];
    secrets.extend([first, second, third, wrong, PASSWORD].map(ToOwned::to_owned));
    secrets
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
