//! Signing in and out, passwords, tokens, credits and logins at registries.

use serde_json::{Value, json};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use super::Examples;
use crate::support::graphql::id;
use crate::support::world::World;

#[tokio::test]
async fn examples_of_an_account() {
    let world = World::embedded();
    let mut examples = Examples::of("account");
    let (_, signing_in) = examples.take("sign_in", json!({}));
    let text = |field: &str| signing_in["input"][field].as_str().unwrap().to_owned();
    world.user_with_password(&text("name"), &text("password"), &[]);
    let gateway = world.gateway().await;
    let nobody = gateway.anonymous();
    let signed_in = examples.run(&nobody, "sign_in", json!({})).await;
    let ada = nobody.with_token(signed_in["token"].as_str());

    let viewer = examples.run(&ada, "viewer", json!({})).await;
    assert_eq!(viewer["id"], signed_in["user"]["id"]);
    let balance = examples.run(&ada, "balance", json!({})).await;
    assert_eq!(balance, viewer["balance"]);
    let mut balances = examples.watch(&ada, "balance_changed", json!({})).await;
    assert_eq!(balances.next().await, Some(balance));
    let statement = examples.run(&ada, "ledger", json!({})).await;
    assert_eq!(statement["ledger"]["nodes"][0]["kind"], "GRANT");

    let made = examples.run(&ada, "create_api_token", json!({})).await;
    let script = nobody.with_token(made["secret"].as_str());
    let tokens = examples.run(&script, "api_tokens", json!({})).await;
    let current: Vec<_> = listed(&tokens["apiTokens"], "current", &json!(true));
    assert_eq!(current, [id(&made["apiToken"])]);

    let registry = TestRegistry::with_password();
    let login = json!({"registry": registry.address, "username": USERNAME, "secret": PASSWORD});
    let save = json!({"input": login});
    let saved = examples.run(&ada, "save_registry_credential", save).await;
    let logins = examples.run(&ada, "registry_credentials", json!({})).await;
    let login = id(&saved["registryCredential"]);
    let (logins, of) = (&logins["registryCredentials"], json!(registry.address));
    assert_eq!(listed(logins, "registry", &of), [&*login]);
    let delete = json!({"input": {"registryCredentialId": login}});
    let name = "delete_registry_credential";
    examples.run(&ada, name, delete).await;

    let revoke = json!({"input": {"apiTokenId": id(&made["apiToken"])}});
    examples.run(&ada, "revoke_api_token", revoke).await;
    assert_eq!(script.status().await, 401);
    // A new password, and signing out.
    examples.run_the_rest(&ada, &json!({})).await;
    assert_eq!(ada.status().await, 401);
}

/// The ids of the things in a list that have this value.
fn listed(things: &Value, field: &str, value: &Value) -> Vec<String> {
    let things = things.as_array().unwrap().iter();
    let found = things.filter(|thing| thing[field] == *value);
    found.map(id).collect()
}
