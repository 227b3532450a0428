//! Hosts and logins at registries, through the API.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use crate::support::graphql::{Client, done, id};
use crate::support::images::private_image;
use crate::support::servers::{Server, engine};
use crate::support::world::World;

const SAVE: &str = "mutation($input: SaveRegistryCredentialInput!) {
    saveRegistryCredential(input: $input) {
        registryCredential { id registry username createdAt } userErrors { code message field }
    }
}";
const DELETE: &str = "mutation($id: ID!) {
    deleteRegistryCredential(input: {registryCredentialId: $id}) { userErrors { code field } }
}";
const MINE: &str = "{ viewer { registryCredentials { id registry username } } }";

async fn save(client: &Client, registry: &str, secret: &str) -> Value {
    let input = json!({"registry": registry, "username": USERNAME, "secret": secret});
    client.ask(SAVE, json!({"input": input})).await["saveRegistryCredential"].take()
}

#[tokio::test]
async fn a_login_is_saved_used_listed_and_deleted_and_never_shown() {
    let world = World::embedded();
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let admin = world.user("admin", &["--admin"]);
    let mut gateway = world.serve().await;
    let [ada, bob, admin] = [&ada, &bob, &admin].map(|token| gateway.client(token));
    let registry = TestRegistry::with_password();
    let image = private_image(&registry).await;

    let saved = save(&ada, &registry.address, PASSWORD).await;
    assert_eq!(saved["userErrors"], json!([]));
    let login = &saved["registryCredential"];
    assert_eq!(login["registry"], registry.address);
    assert_eq!(login["username"], USERNAME);
    let login = id(login);
    let job = ada.pull(&image).await;
    ada.succeeded(&job).await;

    // Bob sees nothing of it, and gets nothing by it.
    let of_bob = bob.ended(&bob.pull(&image).await).await;
    assert_eq!(of_bob["error"]["code"], "REGISTRY_DENIED", "{of_bob}");
    let nothing = json!({"viewer": {"registryCredentials": []}});
    assert_eq!(bob.ask(MINE, json!({})).await, nothing);
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let of_bob = bob.ask(node, json!({"id": login})).await;
    assert_eq!(of_bob["node"], Value::Null);
    let refused = bob.ask(DELETE, json!({"id": login})).await;
    let unknown = json!([{"code": "NOT_FOUND", "field": ["input", "registryCredentialId"]}]);
    assert_eq!(refused["deleteRegistryCredential"]["userErrors"], unknown);
    // An administrator sees that it is there.
    let of_admin = admin.ask(node, json!({"id": login})).await;
    assert_eq!(of_admin["node"]["id"], login);

    let mine = ada.ask(MINE, json!({})).await["viewer"]["registryCredentials"].take();
    let expected = json!([{"id": login, "registry": registry.address, "username": USERNAME}]);
    assert_eq!(mine, expected);

    // The key is the owner's own, made once, and good after a restart.
    let key = world.data_dir().join("secret_key");
    let made = std::fs::read_to_string(&key).unwrap();
    let permissions = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(permissions & 0o777, 0o600);
    gateway.stop().await;
    let log = gateway.said().join("\n");
    assert!(!log.contains(PASSWORD) && !log.contains(made.trim()));
    let again = world.serve().await;
    assert_eq!(std::fs::read_to_string(&key).unwrap(), made);
    let ada = again.client(&ada.token.unwrap());
    let job = ada.pull(&private_image(&registry).await).await;
    ada.succeeded(&job).await;

    let deleted = ada.ask(DELETE, json!({"id": login})).await;
    assert_eq!(deleted["deleteRegistryCredential"]["userErrors"], json!([]));
    assert_eq!(ada.ask(MINE, json!({})).await, nothing);
    let job = ada.pull(&private_image(&registry).await).await;
    assert_eq!(ada.ended(&job).await["error"]["code"], "REGISTRY_DENIED");
}

#[tokio::test]
async fn a_fleet_keeps_logins_only_with_a_key_that_all_have() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let registry = TestRegistry::with_password();
    let image = private_image(&registry).await;
    {
        let gateway = world.gateway().await;
        let client = gateway.client(&token);
        let input = json!({"registry": registry.address, "username": USERNAME, "secret": PASSWORD});
        let (_, answer) = client.send(SAVE, json!({"input": input})).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "UNAVAILABLE", "{answer}");
        assert!(error["message"].as_str().unwrap().contains("secret_key"));
        assert!(!world.data_dir().join("secret_key").exists());
    }
    world.set("WHARFINGER_SECRET_KEY", "a passphrase of the fleet");
    let gateway = world.gateway().await;
    let _worker = world.worker().await;
    let client = gateway.client(&token);
    client.online_host("one").await;
    let saved = save(&client, &registry.address, PASSWORD).await;
    assert_eq!(saved["userErrors"], json!([]));
    let job = client.pull(&image).await;
    client.succeeded(&job).await;

    // Whoever has no key does not start, and says why in a line.
    world.set("WHARFINGER_SECRET_KEY", "");
    for arguments in [&["serve", "--no-worker"][..], &["worker"]] {
        let mut command = world.command(arguments);
        command.env("DOCKER_HOST", engine(1));
        let refused = command.output().unwrap();
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr);
        let line = said.lines().last().unwrap();
        assert!(line.contains("set secret_key"), "{said}");
    }
    world.set("WHARFINGER_SECRET_KEY", "too short");
    let said = world.refused(&["serve", "--no-worker"]);
    assert!(said.contains("bad value of secret_key"), "{said}");
    assert!(!said.contains("too short"), "{said}");
}

async fn hosts(client: &Client) -> Value {
    let query = "{ hosts { nodes { name schedulable labels { name value } } } }";
    client.ask(query, json!({})).await["hosts"]["nodes"].take()
}

#[tokio::test]
async fn an_administrator_drains_a_host_and_its_labels_are_shown() {
    let mut world = World::embedded();
    world.set("WHARFINGER_WORKER__LABELS", "room=b12, disk=ssd");
    let (ada, admin) = (world.user("ada", &[]), world.user("root", &["--admin"]));
    let mut gateway = world.serve().await;
    let [client, administrator] = [&ada, &admin].map(|token| gateway.client(token));
    let host = client.online_host("one").await;
    let label = |name: &str, value: &str| json!({"name": name, "value": value});
    let shown = |schedulable: bool, labels: Value| json!([{"name": "one", "schedulable": schedulable, "labels": labels}]);
    let labels = json!([label("disk", "ssd"), label("room", "b12")]);
    assert_eq!(hosts(&client).await, shown(true, labels.clone()));

    let drain = json!({"hostId": host, "schedulable": false});
    done(&administrator, "setHostSchedulable", drain, "").await;
    assert_eq!(hosts(&client).await, shown(false, labels));

    // It stays drained, and its labels are those that it has now.
    gateway.stop().await;
    world.set("WHARFINGER_WORKER__LABELS", "disk=hdd");
    let gateway = world.serve().await;
    let client = gateway.client(&ada);
    let now = json!([label("disk", "hdd")]);
    assert_eq!(hosts(&client).await, shown(false, now));
}
