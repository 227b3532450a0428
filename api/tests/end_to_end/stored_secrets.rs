//! Secrets where they are kept: in the database, and in what leaves the program for those who watch it.

use sea_orm::{Database, EntityTrait as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharfinger_entity::{api_token, user};
use wharfinger_jobs::testing::registry::{PASSWORD as REGISTRY, TestRegistry, USERNAME};

use crate::support::collector::Collector;
use crate::support::graphql::{Client, done, mutate};
use crate::support::process::Process;
use crate::support::servers::{engine, random_layer, unique_name};
use crate::support::until;
use crate::support::world::World;

const PASSWORD: &str = "correct horse battery staple";
const WRONG: &str = "whf_thisisnotatokenatall0123456789";

/// Signs in, makes a token, keeps a login and pulls a private image with it, once with a wrong password. Returns the secrets.
async fn everything_with_a_secret(gateway: &Process, token: &str) -> Vec<String> {
    let nobody = Client::new(&gateway.address, None);
    let input = json!({"name": "ada", "password": PASSWORD});
    let signed_in = done(&nobody, "signIn", input, "token").await["token"].take();
    let wrong = json!({"name": "ada", "password": "wrong-hunter2"});
    let refused = mutate(&nobody, "signIn", wrong, "token").await;
    assert_eq!(refused["token"], Value::Null);
    let bad = Client::new(&gateway.address, Some(WRONG));
    assert_eq!(bad.send("{ __typename }", json!({})).await.0, 401);
    let ada = Client::new(&gateway.address, signed_in.as_str());
    let made = done(&ada, "createApiToken", json!({"name": "script"}), "secret").await;
    let script = made["secret"].as_str().unwrap();

    let registry = TestRegistry::with_password();
    let name = unique_name();
    let layers = vec![random_layer(1000)];
    registry.push_layers(&name, "1", layers).await;
    for (password, state) in [
        ("wrong-registry-hunter2", "FAILED"),
        (REGISTRY, "SUCCEEDED"),
    ] {
        let input = json!({"registry": registry.address, "username": USERNAME, "secret": password});
        done(&ada, "saveRegistryCredential", input, "").await;
        let job = ada.pull(&format!("{}/{name}:1", registry.address)).await;
        assert_eq!(ada.ended(&job).await["state"], state);
    }
    let signed_in = signed_in.as_str().unwrap();
    [
        token,
        signed_in,
        script,
        PASSWORD,
        "wrong-hunter2",
        WRONG,
        REGISTRY,
        "wrong-registry-hunter2",
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn no_secret_can_be_read_in_the_database() {
    let world = World::embedded();
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let gateway = world.serve(&engine(1)).await;
    let mut secrets = everything_with_a_secret(&gateway, &token).await;
    let key = std::fs::read_to_string(world.data_dir().join("secret_key")).unwrap();
    secrets.push(key.trim().to_owned());

    let mut files = 0;
    for entry in std::fs::read_dir(world.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("wharfinger.db") {
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        for secret in &secrets {
            assert!(!contains(&bytes, secret), "{secret} is in {name}");
        }
    }
    assert!(files > 0);

    let db = Database::connect(world.database_url()).await.unwrap();
    let users = user::Entity::find().all(&db).await.unwrap();
    let hash = users[0].password_hash.as_deref().unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let tokens = api_token::Entity::find().all(&db).await.unwrap();
    // The first one, that of the sign-in and the script's: 256 bits in base64url, or more.
    for secret in &secrets[..3] {
        let random = secret.strip_prefix("whf_").unwrap();
        assert!(random.len() >= 43, "{secret}");
        let hash = format!("{:x}", Sha256::digest(secret));
        assert!(tokens.iter().any(|token| token.secret_hash == hash));
    }
}

#[tokio::test]
async fn traces_and_metrics_have_no_secret() {
    let mut world = World::embedded();
    let collector = Collector::start().await;
    collector.receive_from(&mut world);
    world.set("WHARFINGER_LOG", "trace");
    world.set("WHARFINGER_METRICS__PER_USER", "true");
    world.set("WHARFINGER_METRICS__PER_IMAGE", "true");
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let mut gateway = world.serve(&engine(1)).await;
    let secrets = everything_with_a_secret(&gateway, &token).await;
    let metrics = Client::new(&gateway.address, None).get("/metrics").await;
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("user=\"ada\""), "{metrics}");
    until("the spans of a pull have come", async || {
        collector.said("job.pull_image").then_some(())
    })
    .await;
    // What it has not sent yet, it sends when it stops.
    gateway.terminate();
    assert!(gateway.ended().await.success());
    for secret in &secrets {
        assert!(!metrics.contains(secret.as_str()), "{secret} in a metric");
        assert!(!collector.said(secret), "{secret} in a trace");
    }
}
