//! Signing in and out, passwords, tokens, credits and logins at registries.

use serde_json::{Value, json};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use super::Examples;
use crate::support::graphql::{Client, id};
use crate::support::world::World;

#[tokio::test]
async fn examples_of_an_account() {
    let world = World::embedded();
    let mut examples = Examples::of("account");
    let (_, signing_in) = examples.take("sign_in", json!({}));
    let text = |field: &str| signing_in["input"][field].as_str().unwrap().to_owned();
    world.user_with_password(&text("name"), &text("password"), &[]);
    let gateway = world.gateway().await;
    let nobody = Client::new(&gateway.address, None);
    let signed_in = examples.run(&nobody, "sign_in", json!({})).await;
    let ada = Client::new(&gateway.address, signed_in["token"].as_str());

    let viewer = examples.run(&ada, "viewer", json!({})).await;
    assert_eq!(viewer["id"], signed_in["user"]["id"]);
    let balance = examples.run(&ada, "balance", json!({})).await;
    assert_eq!(balance, viewer["balance"]);
    let mut balances = examples.watch(&ada, "balance_changed", json!({})).await;
    assert_eq!(balances.next().await, Some(balance));
    let statement = examples.run(&ada, "ledger", json!({})).await;
    assert_eq!(statement["ledger"]["nodes"][0]["kind"], "GRANT");

    let made = examples.run(&ada, "create_api_token", json!({})).await;
    let script = Client::new(&gateway.address, made["secret"].as_str());
    let tokens = examples.run(&script, "api_tokens", json!({})).await;
    let current: Vec<_> = listed(&tokens["apiTokens"], "current", &json!(true));
    assert_eq!(current, [id(&made["apiToken"])]);

    let registry = TestRegistry::with_password();
    let login = json!({"registry": registry.address, "username": USERNAME, "secret": PASSWORD});
    let saved = examples
        .run(&ada, "save_registry_credential", json!({"input": login}))
        .await;
    let logins = examples.run(&ada, "registry_credentials", json!({})).await;
    let login = id(&saved["registryCredential"]);
    let of_registry = listed(
        &logins["registryCredentials"],
        "registry",
        &json!(registry.address),
    );
    assert_eq!(of_registry, std::slice::from_ref(&login));
    let input = json!({"registryCredentialId": login});
    examples
        .run(&ada, "delete_registry_credential", json!({"input": input}))
        .await;

    let input = json!({"apiTokenId": id(&made["apiToken"])});
    examples
        .run(&ada, "revoke_api_token", json!({"input": input}))
        .await;
    assert!(is_nobody(&script).await);
    examples.run(&ada, "change_password", json!({})).await;
    examples.run(&ada, "sign_out", json!({})).await;
    assert!(is_nobody(&ada).await);
    examples.all_were_run();
}

/// The ids of the things in a list that have this value.
fn listed(things: &Value, field: &str, value: &Value) -> Vec<String> {
    let things = things.as_array().unwrap().iter();
    things
        .filter(|thing| thing[field] == *value)
        .map(id)
        .collect()
}

/// Whether this client's token is good for nothing.
async fn is_nobody(client: &Client) -> bool {
    let (_, answer) = client.send("{ balance { total } }", json!({})).await;
    answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
}
