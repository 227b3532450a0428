//! Secrets never appear in what the program says and keeps: not at log level trace, not in errors of connecting, and not in
//! the database.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharfinger_entity::{api_token, user};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use crate::log_files;
use crate::support::books::database;
use crate::support::collector::{Collector, contains};
use crate::support::graphql::{done, id, mutate};
use crate::support::images::{private_image, pushed};
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::until;
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
    let collector = format!("http://me:{COLLECTOR}@127.0.0.1:1");
    world.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector);
    let header = format!("authorization=Bearer {HEADER}");
    world.set("OTEL_EXPORTER_OTLP_HEADERS", &header);
    world.set("OTEL_BSP_SCHEDULE_DELAY", "100");
    let root = world.user("root", &["--admin"]);
    let (mut worker, mut gateway, client) = world.work_for("ada").await;

    let job = client.pull(&pushed(&world, 100_000).await).await;
    Subscription::progress(&client, &job).await.rest().await;
    client.succeeded(&job).await;
    // A registry's password, where somebody put it into the reference.
    let host = &world.registry.address;
    for reference in [
        format!("ada:{REGISTRY}@{host}/x:v1"),
        format!("http://ada:{REGISTRY}@{host}/x:v1"),
        format!("{host}/x:v1?password={REGISTRY}"),
    ] {
        let payload = client.try_pull(json!({"reference": reference})).await;
        let code = &payload["userErrors"][0]["code"];
        assert_eq!(code, "INVALID_REFERENCE", "{payload}");
    }
    let more = everything_with_a_secret(&gateway, &root).await;
    worker.logged("traces cannot be sent").await;
    for process in [&mut worker, &mut gateway] {
        process.stop().await;
    }

    let mut said = log_files::lines(&world);
    assert!(said.len() > 100, "{}", said.len());
    said.extend(worker.said());
    said.extend(gateway.said());
    // Libraries are listened to, except where they print whole messages.
    let by = |library: &str| said.iter().any(|line| line.contains(library));
    assert!(by("\"target\":\"bollard") && by("\"level\":\"DEBUG\""));
    let token = client.token.unwrap();
    let secrets = [&token, DATABASE, COLLECTOR, HEADER, KEY, REGISTRY];
    for secret in secrets.into_iter().chain(more.iter().map(String::as_str)) {
        for line in &said {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}

/// Everything that people do with passwords, tokens, cookies and logins. Returns the secrets; the first three are tokens that
/// are good still.
async fn everything_with_a_secret(gateway: &Process, root: &str) -> Vec<String> {
    let wrong_token = gateway.client(WRONG);
    assert_eq!(wrong_token.status().await, 401);
    assert!(Subscription::enter(&wrong_token).await.is_none());
    let [first, second, third, wrong] = [
        "first-hunter2-of-eve",
        "second-hunter2-of-hers",
        "third-hunter2-of-hers",
        "wrong-hunter2-of-hers",
    ];
    let (admin, anonymous) = (gateway.client(root), gateway.anonymous());
    let input = json!({"name": "bob", "password": first});
    let made = done(&admin, "createUser", input, "user { id }").await;
    let input = json!({"name": "bob", "password": wrong});
    let refused = mutate(&anonymous, "signIn", input, "token").await;
    assert_eq!(refused["token"], Value::Null);
    let session = anonymous.sign_in("bob", first).await;
    let input = json!({"current": first, "new": second});
    done(&session, "changePassword", input, "user { id }").await;
    let input = json!({"userId": id(&made["user"]), "password": third});
    done(&admin, "updateUser", input, "user { id }").await;
    // That ended the session: another one, as a browser has it.
    let again = anonymous.sign_in("bob", third).await.token.unwrap();
    let browser = anonymous
        .with_header("cookie", &format!("whf_session={again}"))
        .with_header("origin", &format!("http://{}", gateway.address));
    let script = json!({"name": "a script"});
    let script = done(&browser, "createApiToken", script, "secret").await;
    let script = script["secret"].as_str().unwrap();
    // A private image, with the right password and with a wrong one; the registry's own tokens come on top.
    let registry = TestRegistry::with_password();
    let image = private_image(&registry).await;
    let bob = gateway.client(script);
    for (password, state) in [(wrong, "FAILED"), (PASSWORD, "SUCCEEDED")] {
        let input = json!({"registry": registry.address, "username": USERNAME, "secret": password});
        done(&bob, "saveRegistryCredential", input, "").await;
        let job = bob.pull(&image).await;
        assert_eq!(bob.ended(&job).await["state"], state);
    }
    let basic = |password: &str| BASE64_STANDARD.encode(format!("{USERNAME}:{password}"));
    let (basic, wrong_basic) = (basic(PASSWORD), basic(wrong));
    let passwords = [first, second, third, wrong, PASSWORD, &basic, &wrong_basic];
    let session = session.token.as_deref().unwrap();
    let tokens = [root, &again, script, session, WRONG];
    tokens
        .into_iter()
        .chain(passwords)
        .map(ToOwned::to_owned)
        .collect()
}

/// Neither where secrets are kept nor in what leaves the program for those who watch it.
#[tokio::test]
async fn no_secret_can_be_read_in_the_database_in_traces_and_in_metrics() {
    let mut world = World::embedded();
    let collector = Collector::start().await;
    collector.receive_from(&mut world);
    world.set("WHARFINGER_LOG", "trace");
    world.set("WHARFINGER_METRICS__PER_USER", "true");
    world.set("WHARFINGER_METRICS__PER_IMAGE", "true");
    let root = world.user("root", &["--admin"]);
    let mut gateway = world.serve().await;
    let mut secrets = everything_with_a_secret(&gateway, &root).await;
    let key = std::fs::read_to_string(world.data_dir().join("secret_key")).unwrap();
    secrets.push(key.trim().to_owned());

    let metrics = gateway.anonymous().get("/metrics").await;
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("user=\"bob\""), "{metrics}");
    until("the spans of a pull have come", async || {
        collector.said("job.pull_image").then_some(())
    })
    .await;
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(world.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("wharfinger.db") {
            stored.extend(std::fs::read(&path).unwrap());
        }
    }
    assert!(!stored.is_empty());
    // What it has not sent yet, it sends when it stops.
    gateway.stop().await;
    for secret in &secrets {
        assert!(!contains(&stored, secret), "{secret} in the database");
        assert!(!metrics.contains(secret), "{secret} in a metric");
        assert!(!collector.said(secret), "{secret} in a trace");
    }

    let db = database(&world).await;
    let bob = user::Column::Name.eq("bob");
    let bob = user::Entity::find().filter(bob).one(&db).await.unwrap();
    let hash = bob.unwrap().password_hash.unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let tokens = api_token::Entity::find().all(&db).await.unwrap();
    // 256 bits in base64url, or more.
    for secret in &secrets[..3] {
        let random = secret.strip_prefix("whf_").unwrap();
        assert!(random.len() >= 43, "{secret}");
        let hash = hex::encode(Sha256::digest(secret));
        assert!(tokens.iter().any(|token| token.secret_hash == hash));
    }
}

#[tokio::test]
async fn what_stops_the_start_names_no_password() {
    let secret = "starthunter2";
    let settings = "
        DATABASE_URL postgres://u:SECRET@127.0.0.1:1/x
        DATABASE_URL postgres://u:SECRET@127.0.0.1:port/x
        DATABASE_URL postgres://u:SECRET@no.such.host.invalid/x
        DATABASE_URL mysql://u:SECRET@127.0.0.1:1/x
        DATABASE_URL oracle://u:SECRET@127.0.0.1/x
        REDIS_URL redis://:SECRET@127.0.0.1:port
        REDIS_URL http://:SECRET@127.0.0.1:1
        REDIS_URL redis://:SECRET@127.0.0.1:1/notanumber
        DOCKER_HOST tcp://u:SECRET@127.0.0.1:1
        DOCKER_HOST ssh://u:SECRET@127.0.0.1:1
        WHARFINGER_REGISTRIES__ALLOW u:SECRET@127.0.0.1
        OTEL_EXPORTER_OTLP_ENDPOINT ftp://u:SECRET@127.0.0.1:1
    ";
    // Side by side: a database that does not answer is waited for.
    let mut runs = Vec::new();
    for setting in settings.trim().lines() {
        let (name, value) = setting.trim().split_once(' ').unwrap();
        let value = value.replace("SECRET", secret);
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
