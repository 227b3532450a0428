//! Signing in, tokens, wrong passwords, users and what they are paid.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wharfinger_entity::Role;

use super::client::{PASSWORD, done, id, mutate, mutation};
use super::gateway::{Gateway, Store};
use super::on_both;

on_both!(
    a_user_signs_in_makes_tokens_and_signs_out,
    wrong_passwords_have_to_wait_and_are_told_how_long,
    administrators_make_change_find_and_pay_users,
);

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

    let ada = nobody.sign_in("Ada", PASSWORD).await;
    let script = json!({"name": "nightly script", "expiresAt": "2100-01-01T00:00:00Z"});
    let fields = "secret apiToken { id name expiresAt lastUsedAt signIn }";
    let made = done(&ada, "createApiToken", script, fields).await;
    let token = &made["apiToken"];
    assert_eq!(token["name"], "nightly script");
    assert_eq!(token["expiresAt"], "2100-01-01T00:00:00.000000Z");
    assert_eq!(token["lastUsedAt"], Value::Null);
    assert_eq!(token["signIn"], false);
    let script = nobody.with_token(made["secret"].as_str());
    assert_eq!(script.status().await, StatusCode::OK);
    let tokens = "{ viewer { apiTokens { name signIn current } } }";
    let tokens = script.ask(tokens, json!({})).await;
    let expected = json!([
        {"name": "nightly script", "signIn": false, "current": true},
        {"name": "signed in from 127.0.0.1", "signIn": true, "current": false},
        {"name": "made with the user", "signIn": false, "current": false},
    ]);
    assert_eq!(tokens["viewer"]["apiTokens"], expected);
    let node = "query($id: ID!) { node(id: $id) { id __typename } }";
    let node = script.ask(node, json!({"id": id(token)})).await;
    let expected = json!({"id": token["id"], "__typename": "ApiToken"});
    assert_eq!(node["node"], expected);

    let other = nobody.sign_in("ada", PASSWORD).await;
    let change = json!({"current": PASSWORD, "new": "a wharf of many colours"});
    let user = done(&ada, "changePassword", change, "user { name }").await;
    assert_eq!(user["user"]["name"], "ada");
    assert_eq!(other.status().await, StatusCode::UNAUTHORIZED);
    assert_eq!(script.status().await, StatusCode::OK);
    done(&ada, "revokeApiToken", json!({"apiTokenId": id(token)}), "").await;
    assert_eq!(script.status().await, StatusCode::UNAUTHORIZED);
    let out = "mutation { signOut { userErrors { code } } }";
    let out = ada.ask(out, json!({})).await;
    assert_eq!(out["signOut"]["userErrors"], json!([]));
    assert_eq!(ada.status().await, StatusCode::UNAUTHORIZED);
}

async fn wrong_passwords_have_to_wait_and_are_told_how_long(store: Store) {
    let proxies = ("WHARFINGER_TRUSTED_PROXIES", "127.0.0.0/8");
    let gateway = Gateway::with(store, &[proxies]).await;
    gateway
        .make("ada", Role::User, "1000", Some(PASSWORD))
        .await;
    let nobody = gateway.anonymous();
    let from = |address: &str| nobody.with_header("x-forwarded-for", address);
    let query = mutation("signIn", "token");
    let sign_in = async |address: &str, name: &str| {
        let input = json!({"input": {"name": name, "password": "wrong"}});
        from(address).post(&query, input).await
    };
    let answer = loop {
        let answer = sign_in("192.0.2.1", "ada").await;
        if answer.headers().contains_key("retry-after") {
            break answer;
        }
        let answer: Value = answer.json().await.unwrap();
        let error = &answer["data"]["signIn"]["userErrors"][0]["code"];
        assert_eq!(error, "INVALID_CREDENTIALS", "{answer}");
    };
    let seconds = answer.headers()["retry-after"].to_str().unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    let answer: Value = answer.json().await.unwrap();
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED", "{answer}");
    assert_eq!(extensions["retryAfter"], seconds);

    // Another name from one address after the other, then all from one.
    for n in 0..25 {
        let (address, name) = (format!("192.0.2.{}", n + 10), format!("user{n}"));
        let answer: Value = sign_in(&address, &name).await.json().await.unwrap();
        let error = &answer["data"]["signIn"]["userErrors"][0]["code"];
        assert_eq!(error, "INVALID_CREDENTIALS", "{answer}");
    }
    let mut refused = false;
    for n in 0..25 {
        let answer = sign_in("192.0.2.9", &format!("other{n}")).await;
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
    let fields = "user { id role balance { total } }";
    let eve = done(&root, "createUser", input.clone(), fields).await;
    let eve = &eve["user"];
    assert_eq!(eve["role"], "USER");
    assert_eq!(eve["balance"]["total"], "10");
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
    for (amount, key, code) in [
        ("3", "a", "IDEMPOTENCY_CONFLICT"),
        ("-13", "b", "INSUFFICIENT_CREDITS"),
    ] {
        let refused = grant(amount, key).await;
        assert_eq!(refused["userErrors"][0]["code"], code);
    }
    let adjusted = grant("-12.5", "c").await;
    assert_eq!(adjusted["ledgerEntry"]["kind"], "ADJUSTMENT");
    let client = gateway.anonymous().sign_in("eve", PASSWORD).await;
    let ledger = "{ viewer { ledger { nodes { kind amount totalAfter reason } } } }";
    let ledger = client.ask(ledger, json!({})).await;
    let expected = json!([
        {"kind": "ADJUSTMENT", "amount": "-12.5", "totalAfter": "0", "reason": "course"},
        {"kind": "GRANT", "amount": "2.5", "totalAfter": "12.5", "reason": "course"},
        {"kind": "GRANT", "amount": "10", "totalAfter": "10", "reason": "first balance"},
    ]);
    assert_eq!(ledger["viewer"]["ledger"]["nodes"], expected);

    let demote = json!({"userId": root.viewer_id().await, "role": "USER"});
    let last = mutate(&root, "updateUser", demote, "user { id }").await;
    assert_eq!(last["userErrors"][0]["field"], json!(["input", "role"]));
    let promote = json!({"userId": eve["id"], "role": "ADMIN"});
    done(&root, "updateUser", promote, "user { role }").await;
    let users = "query($filter: UserFilter) { users(filter: $filter) { totalCount nodes { name role status } } }";
    let admins = json!({"filter": {"role": "ADMIN", "search": "E"}});
    let found = client.ask(users, admins).await;
    let eve = json!({"name": "eve", "role": "ADMIN", "status": "ACTIVE"});
    assert_eq!(found["users"], json!({"totalCount": 1, "nodes": [eve]}));
    let log = "{ auditLog { nodes { actor action subject } } }";
    let log = client.ask(log, json!({})).await;
    let expected = json!([
        {"actor": "root", "action": "UPDATE_USER", "subject": "eve"},
        {"actor": "root", "action": "GRANT_CREDITS", "subject": "eve"},
        {"actor": "root", "action": "GRANT_CREDITS", "subject": "eve"},
        {"actor": "root", "action": "CREATE_USER", "subject": "eve"},
        {"actor": "command line", "action": "CREATE_USER", "subject": "root"},
    ]);
    assert_eq!(log["auditLog"]["nodes"], expected);
}
