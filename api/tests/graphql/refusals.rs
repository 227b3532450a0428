//! What is refused, and with which code.

use sea_orm::ActiveValue::Set;
use serde_json::json;
use wharfinger_entity::{Role, host};

use super::client::{Client, id, mutate};
use super::gateway::{Gateway, Store};
use super::{on_both, refusal, rows};

on_both!(
    what_the_caller_can_mend_is_a_user_error,
    a_host_that_is_gone_takes_no_pulls,
    a_token_that_nobody_has_is_refused,
    what_is_no_login_is_refused,
);

async fn what_the_caller_can_mend_is_a_user_error(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.user("ada").await;
    rows::host(&gateway.services, |_: &mut host::ActiveModel| ()).await;
    let reference = "127.0.0.1:1/x";
    let at = |field: &str| json!(["input", field]);

    for malformed in ["", "127.0.0.1:1/UPPER", "a b", "redis:", "redis@sha256:12"] {
        let payload = client.try_pull(json!({"reference": malformed})).await;
        let expected = ("INVALID_REFERENCE", &at("reference"));
        assert_eq!(refusal(&payload), expected, "{malformed:?}");
    }
    // 127.0.0.1:* is all that is allowed.
    for forbidden in ["redis", "ghcr.io/a/b", "10.0.0.1/x"] {
        let payload = client.try_pull(json!({"reference": forbidden})).await;
        let expected = ("REGISTRY_NOT_ALLOWED", &at("reference"));
        assert_eq!(refusal(&payload), expected, "{forbidden:?}");
    }
    for unknown in [
        "host_00000000000000000000000000000000",
        "nothing",
        &client.viewer_id().await,
    ] {
        let input = json!({"reference": reference, "hostId": unknown});
        let payload = client.try_pull(input).await;
        let expected = ("HOST_NOT_FOUND", &at("hostId"));
        assert_eq!(refusal(&payload), expected, "{unknown}");
    }
    has_only(&client, 0).await;
    let poor = gateway.make("bob", Role::User, "299.999999", None).await;
    let payload = poor.try_pull(json!({"reference": reference})).await;
    assert_eq!(refusal(&payload).0, "INSUFFICIENT_CREDITS");
    has_only(&poor, 0).await;

    let keyed = |reference: &str| json!({"reference": reference, "idempotencyKey": "k"});
    let first = client.try_pull(keyed(reference)).await;
    let again = client.try_pull(keyed(reference)).await;
    assert_eq!(id(&first["job"]), id(&again["job"]));
    let other = client.try_pull(keyed("127.0.0.1:1/other")).await;
    let expected = ("IDEMPOTENCY_CONFLICT", &at("idempotencyKey"));
    assert_eq!(refusal(&other), expected);
    has_only(&client, 1).await;
}

/// What was refused left nothing: so many jobs there are, and nothing but them holds anything.
async fn has_only(client: &Client, jobs: usize) {
    let query = "{ jobs { totalCount } balance { held } images { totalCount } }";
    let all = client.ask(query, json!({})).await;
    assert_eq!(all["jobs"]["totalCount"], jobs);
    assert_eq!(all["balance"]["held"], (300 * jobs).to_string());
    assert_eq!(all["images"]["totalCount"], 0);
}

async fn a_host_that_is_gone_takes_no_pulls(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.user("ada").await;
    let (services, past) = (&gateway.services, gateway.services.clock.now());
    let past = past.before(rows::LATER);
    rows::host(services, |host| host.last_seen_at = Set(Some(past))).await;
    let hosts = "{ hosts { nodes { id online } } }";
    let hosts = client.ask(hosts, json!({})).await["hosts"]["nodes"].take();
    assert_eq!(hosts[0]["online"], false);
    for input in [
        json!({"reference": "127.0.0.1:1/x", "hostId": hosts[0]["id"]}),
        json!({"reference": "127.0.0.1:1/x"}),
    ] {
        let payload = client.try_pull(input).await;
        let expected = ("HOST_UNAVAILABLE", &json!(["input", "hostId"]));
        assert_eq!(refusal(&payload), expected);
    }
    has_only(&client, 0).await;
}

/// Requests without any token are in the table of the authorisation.
async fn a_token_that_nobody_has_is_refused(store: Store) {
    let gateway = Gateway::on(store).await;
    for (token, status) in [(None, 200), (Some("wharf_nothing"), 401)] {
        let client = gateway.anonymous().with_token(token);
        for query in [
            "{ balance { total } }",
            "mutation { pullImage(input: {reference: \"x\"}) { job { id } } }",
        ] {
            let (found, answer) = client.send(query, json!({})).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "UNAUTHENTICATED", "{query}");
            assert_eq!(found, status, "{query} with {token:?}");
        }
    }
}

async fn what_is_no_login_is_refused(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.user("ada").await;
    for (registry, secret, code, field) in [
        ("127.0.0.1:5000/x", "s", "INVALID_INPUT", "registry"),
        ("ghcr.io", "s", "REGISTRY_NOT_ALLOWED", "registry"),
        ("127.0.0.1:5000", "", "INVALID_INPUT", "secret"),
    ] {
        let input = json!({"registry": registry, "username": "u", "secret": secret});
        let fields = "registryCredential { id }";
        let refused = mutate(&client, "saveRegistryCredential", input, fields).await;
        assert_eq!(refused["registryCredential"], json!(null));
        assert_eq!(refusal(&refused), (code, &json!(["input", field])));
    }
    let mine = "{ viewer { registryCredentials { id } } }";
    let mine = client.ask(mine, json!({})).await;
    assert_eq!(mine["viewer"]["registryCredentials"], json!([]));
}
