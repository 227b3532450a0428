//! Signing in, tokens, wrong passwords, users and what they are paid.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wharfinger_entity::Role;

use super::client::{Client, done, id, mutate};
use super::gateway::{Gateway, Store};
use super::{PASSWORD, on_both};

on_both!(
    a_user_signs_in_makes_tokens_and_signs_out,
    wrong_passwords_have_to_wait_and_are_told_how_long,
    administrators_make_change_find_and_pay_users,
);

/// Signs in.
async fn sign_in(gateway: &Gateway, name: &str, password: &str) -> Client {
    let anonymous = gateway.anonymous();
    let input = json!({"name": name, "password": password});
    let payload = done(&anonymous, "signIn", input, "token user { name }").await;
    anonymous.with_token(payload["token"].as_str())
}

/// What a request comes to that needs a token.
async fn status(client: &Client) -> StatusCode {
    client.send("{ viewer { name } }", json!({})).await.0
}

async fn viewer_id(client: &Client) -> String {
    id(&client.ask("{ viewer { id } }", json!({})).await["viewer"])
}

async fn a_user_signs_in_makes_tokens_and_signs_out(store: Store) {
    let gateway = Gateway::on(store).await;
    gateway
        .make("ada", Role::User, "1000", Some(PASSWORD))
        .await;
    let nobody = gateway.anonymous();
    let wrong = json!({"name": "ada", "password": "wrong"});
    let payload = mutate(&nobody, "signIn", wrong, "token user { id }").await;
    assert_eq!(payload["token"], Value::Null);
    assert_eq!(payload["userErrors"][0]["code"], "INVALID_CREDENTIALS");

    let ada = sign_in(&gateway, "Ada", PASSWORD).await;
    let made = done(
        &ada,
        "createApiToken",
        json!({"name": "nightly script", "expiresAt": "2100-01-01T00:00:00Z"}),
        "secret apiToken { id name expiresAt lastUsedAt signIn }",
    )
    .await;
    let token = &made["apiToken"];
    assert_eq!(token["name"], "nightly script");
    assert_eq!(token["expiresAt"], "2100-01-01T00:00:00.000000Z");
    assert_eq!(
        (&token["lastUsedAt"], &token["signIn"]),
        (&Value::Null, &json!(false))
    );
    let script = gateway.anonymous().with_token(made["secret"].as_str());
    assert_eq!(status(&script).await, StatusCode::OK);
    let tokens = "{ viewer { apiTokens { name signIn current } } }";
    let tokens = script.ask(tokens, json!({})).await;
    assert_eq!(
        tokens["viewer"]["apiTokens"],
        json!([
            {"name": "nightly script", "signIn": false, "current": true},
            {"name": "signed in from 127.0.0.1", "signIn": true, "current": false},
            {"name": "made with the user", "signIn": false, "current": false},
        ])
    );
    let node = "query($id: ID!) { node(id: $id) { id __typename } }";
    let variables = json!({"id": id(token)});
    let node = script.ask(node, variables).await;
    assert_eq!(
        node["node"],
        json!({"id": token["id"], "__typename": "ApiToken"})
    );

    let other = sign_in(&gateway, "ada", PASSWORD).await;
    let change = json!({"current": PASSWORD, "new": "a wharf of many colours"});
    let user = done(&ada, "changePassword", change, "user { name }").await;
    assert_eq!(user["user"]["name"], "ada");
    assert_eq!(status(&other).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&script).await, StatusCode::OK);
    done(&ada, "revokeApiToken", json!({"apiTokenId": id(token)}), "").await;
    assert_eq!(status(&script).await, StatusCode::UNAUTHORIZED);
    let out = "mutation { signOut { userErrors { code } } }";
    let out = ada.ask(out, json!({})).await;
    assert_eq!(out["signOut"]["userErrors"], json!([]));
    assert_eq!(status(&ada).await, StatusCode::UNAUTHORIZED);
}

async fn wrong_passwords_have_to_wait_and_are_told_how_long(store: Store) {
    let proxies = ("WHARFINGER_TRUSTED_PROXIES", "127.0.0.0/8");
    let gateway = Gateway::with(store, &[proxies]).await;
    gateway
        .make("ada", Role::User, "1000", Some(PASSWORD))
        .await;
    let nobody = gateway.anonymous();
    let from = |address: &str| nobody.with_header("x-forwarded-for", address);
    let input = json!({"name": "ada", "password": "wrong"});
    let query =
        "mutation($input: SignInInput!) { signIn(input: $input) { token userErrors { code } } }";
    let answer = loop {
        let answer = from("192.0.2.1").post(query, json!({"input": input})).await;
        if answer.headers().contains_key("retry-after") {
            break answer;
        }
        let answer: Value = answer.json().await.unwrap();
        let error = &answer["data"]["signIn"]["userErrors"][0]["code"];
        assert_eq!(error, "INVALID_CREDENTIALS", "{answer}");
    };
    let seconds: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED", "{answer}");
    assert_eq!(extensions["retryAfter"], seconds);

    // Another name from one address after the other, then all from one.
    for n in 0..25 {
        let input = json!({"name": format!("user{n}"), "password": "wrong"});
        let client = from(&format!("192.0.2.{}", n + 10));
        let payload = mutate(&client, "signIn", input, "").await;
        assert_eq!(payload["userErrors"][0]["code"], "INVALID_CREDENTIALS");
    }
    let mut refused = false;
    for n in 0..25 {
        let input = json!({"name": format!("other{n}"), "password": "wrong"});
        let answer = from("192.0.2.9").post(query, json!({"input": input})).await;
        refused |= answer.headers().contains_key("retry-after");
    }
    assert!(refused);
}

async fn administrators_make_change_find_and_pay_users(store: Store) {
    let gateway = Gateway::on(store).await;
    let root = gateway.admin("root").await;
    let input = json!({"name": "eve", "password": "password", "credits": "10"});
    let weak = mutate(&root, "createUser", input, "user { id }").await;
    assert_eq!(weak["userErrors"][0]["code"], "WEAK_PASSWORD");
    assert_eq!(weak["userErrors"][0]["field"], json!(["input", "password"]));
    let input = json!({"name": "eve", "password": PASSWORD, "credits": "10"});
    let eve = done(
        &root,
        "createUser",
        input.clone(),
        "user { id role balance { total } }",
    )
    .await;
    let eve = &eve["user"];
    assert_eq!(
        (&eve["role"], &eve["balance"]["total"]),
        (&json!("USER"), &json!("10"))
    );
    let taken = mutate(&root, "createUser", input, "user { id }").await;
    assert_eq!(taken["userErrors"][0]["code"], "NAME_TAKEN");

    let grant = async |amount: &str, key: &str| {
        let input = json!({"userId": eve["id"], "amount": amount, "reason": "course", "idempotencyKey": key});
        let fields = "user { balance { total } } ledgerEntry { id kind amount totalAfter reason }";
        mutate(&root, "grantCredits", input, fields).await
    };
    let first = grant("2.5", "a").await;
    assert_eq!(first["ledgerEntry"]["totalAfter"], "12.5");
    assert_eq!(grant("2.5", "a").await, first);
    assert_eq!(
        grant("3", "a").await["userErrors"][0]["code"],
        "IDEMPOTENCY_CONFLICT"
    );
    assert_eq!(
        grant("-13", "b").await["userErrors"][0]["code"],
        "INSUFFICIENT_CREDITS"
    );
    assert_eq!(
        grant("-12.5", "c").await["ledgerEntry"]["kind"],
        "ADJUSTMENT"
    );
    let client = sign_in(&gateway, "eve", PASSWORD).await;
    let ledger = "{ viewer { ledger { nodes { kind amount totalAfter reason } } } }";
    let ledger = client.ask(ledger, json!({})).await;
    assert_eq!(
        ledger["viewer"]["ledger"]["nodes"],
        json!([
            {"kind": "ADJUSTMENT", "amount": "-12.5", "totalAfter": "0", "reason": "course"},
            {"kind": "GRANT", "amount": "2.5", "totalAfter": "12.5", "reason": "course"},
            {"kind": "GRANT", "amount": "10", "totalAfter": "10", "reason": "first balance"},
        ])
    );

    let me = viewer_id(&root).await;
    let last = mutate(
        &root,
        "updateUser",
        json!({"userId": me, "role": "USER"}),
        "user { id }",
    )
    .await;
    assert_eq!(last["userErrors"][0]["field"], json!(["input", "role"]));
    let promote = json!({"userId": eve["id"], "role": "ADMIN"});
    done(&root, "updateUser", promote, "user { role }").await;
    let users = "query($filter: UserFilter) { users(filter: $filter) { totalCount nodes { name role status } } }";
    let admins = json!({"filter": {"role": "ADMIN", "search": "E"}});
    let found = client.ask(users, admins).await;
    assert_eq!(
        found["users"],
        json!({"totalCount": 1, "nodes": [{"name": "eve", "role": "ADMIN", "status": "ACTIVE"}]})
    );
    let log = "{ auditLog { nodes { actor action subject } } }";
    let log = client.ask(log, json!({})).await;
    let acts: Vec<_> = log["auditLog"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| {
            format!("{} {} {}", act["actor"], act["action"], act["subject"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        acts,
        [
            "root UPDATE_USER eve",
            "root GRANT_CREDITS eve",
            "root GRANT_CREDITS eve",
            "root CREATE_USER eve",
            "command line CREATE_USER root",
        ]
    );
}
