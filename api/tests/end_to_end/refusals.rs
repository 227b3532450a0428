//! What is refused, and with which code.

use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::crashes::pushed;
use crate::support::graphql::{Client, id};
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::until;
use crate::support::world::World;

/// The only user error of a payload.
fn refusal(payload: &Value) -> (&str, &Value) {
    assert_eq!(payload["job"], Value::Null, "{payload}");
    let errors = payload["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{payload}");
    assert_ne!(errors[0]["message"], "");
    (errors[0]["code"].as_str().unwrap(), &errors[0]["field"])
}

#[tokio::test]
async fn what_the_caller_can_mend_is_a_user_error() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let poor = world.user("bob", &["--credits", "299.999999"]);
    let gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    let reference = pushed(&world, 1000).await;
    let at = |field: &str| json!(["input", field]);

    for malformed in ["", "127.0.0.1:1/UPPER", "a b", "redis:", "redis@sha256:12"] {
        let payload = client.try_pull(json!({"reference": malformed})).await;
        assert_eq!(
            refusal(&payload),
            ("INVALID_REFERENCE", &at("reference")),
            "{malformed:?}"
        );
    }
    // 127.0.0.1:* is all that is allowed.
    for forbidden in ["redis", "ghcr.io/a/b", "10.0.0.1/x"] {
        let payload = client.try_pull(json!({"reference": forbidden})).await;
        assert_eq!(
            refusal(&payload),
            ("REGISTRY_NOT_ALLOWED", &at("reference")),
            "{forbidden:?}"
        );
    }
    for unknown in [
        "host_00000000000000000000000000000000",
        "nothing",
        &id_of_viewer(&client).await,
    ] {
        let input = json!({"reference": reference, "hostId": unknown});
        let payload = client.try_pull(input).await;
        assert_eq!(
            refusal(&payload),
            ("HOST_NOT_FOUND", &at("hostId")),
            "{unknown}"
        );
    }
    has_only(&client, 0).await;
    let poor = World::client(&gateway, &poor);
    let payload = poor.try_pull(json!({"reference": reference})).await;
    assert_eq!(refusal(&payload).0, "INSUFFICIENT_CREDITS");
    has_only(&poor, 0).await;

    let keyed = |reference: &str| json!({"reference": reference, "idempotencyKey": "k"});
    let first = client.try_pull(keyed(&reference)).await;
    let again = client.try_pull(keyed(&reference)).await;
    assert_eq!(first["job"]["id"], again["job"]["id"]);
    let other = client.try_pull(keyed("127.0.0.1:1/other")).await;
    assert_eq!(
        refusal(&other),
        ("IDEMPOTENCY_CONFLICT", &at("idempotencyKey"))
    );
    client.succeeded(&id(&first["job"])).await;
    has_only(&client, 1).await;
}

/// What was refused left nothing: so many jobs there are, and none of them holds anything.
async fn has_only(client: &Client, jobs: usize) {
    let query = "{ jobs { totalCount } balance { held } images { totalCount } }";
    let all = client.ask(query, json!({})).await;
    assert_eq!(all["jobs"]["totalCount"], jobs, "{all}");
    assert_eq!(all["images"]["totalCount"], jobs, "{all}");
    assert_eq!(all["balance"]["held"], "0", "{all}");
}

async fn id_of_viewer(client: &Client) -> String {
    let viewer = client.ask("{ viewer { id } }", json!({})).await;
    id(&viewer["viewer"])
}

#[tokio::test]
async fn what_belongs_to_another_user_is_answered_as_what_does_not_exist() {
    let world = World::embedded();
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let gateway = world.serve(&engine(1)).await;
    let (ada, bob) = (World::client(&gateway, &ada), World::client(&gateway, &bob));
    let job = ada.pull(&pushed(&world, 1000).await).await;
    let done = ada.succeeded(&job).await;
    let query = "{ viewer { id ledger { nodes { id } } } }";
    let of_ada = ada.ask(query, json!({})).await["viewer"].take();
    let entry = id(&of_ada["ledger"]["nodes"][0]);

    // The same questions with ids of nothing: every answer must be the same, to the letter.
    let theirs = [job, id(&done["image"]), id(&of_ada), entry];
    let nothing = theirs.each_ref().map(|id| {
        let (kind, _) = id.split_once('_').unwrap();
        format!("{kind}_0123456789abcdef0123456789abcdef")
    });
    let of_theirs = answers(&bob, &theirs).await;
    assert_eq!(of_theirs, answers(&bob, &nothing).await);
    assert_eq!(
        of_theirs[0]["data"]["nodes"],
        json!([null, null, null, null])
    );
    let lists = "{ jobs { totalCount } images { totalCount } }";
    let lists = bob.ask(lists, json!({})).await;
    assert_eq!(
        lists,
        json!({"jobs": {"totalCount": 0}, "images": {"totalCount": 0}})
    );
    let filter = "query($id: ID!) { jobs(filter: {userId: $id}) { totalCount } }";
    let (_, answer) = bob.send(filter, json!({"id": id(&of_ada)})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let all = "subscription { jobUpdated(all: true) { id } }";
    let mut all = Subscription::start(&bob, all, json!({})).await;
    assert_eq!(all.refusal().await["extensions"]["code"], "FORBIDDEN");
}

/// Everything that Bob is told when he asks for a job, an image, a user and an entry.
async fn answers(bob: &Client, [job, image, user, entry]: &[String; 4]) -> Vec<Value> {
    let ids = json!({"ids": [job, image, user, entry]});
    let mut answers = Vec::new();
    for (query, variables) in [
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids),
        (
            "query($id: ID!) { job(id: $id) { id } }",
            json!({"id": job}),
        ),
        (
            "query($id: ID!) { image(id: $id) { id } }",
            json!({"id": image}),
        ),
        (
            "mutation($id: ID!) { removeImage(input: {imageId: $id}) { job { id } userErrors { code message field } } }",
            json!({"id": image}),
        ),
        (
            "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { job { id } userErrors { code message field } } }",
            json!({"id": job}),
        ),
        (
            "mutation($id: ID!) { retryJob(input: {jobId: $id}) { job { id } userErrors { code message field } } }",
            json!({"id": job}),
        ),
    ] {
        answers.push(bob.send(query, variables).await.1);
    }
    let mut progress = Subscription::progress(bob, job).await;
    answers.push(progress.refusal().await);
    answers
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_that_is_known() {
    let world = World::embedded();
    world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    for (token, status) in [
        (None, StatusCode::OK),
        (Some("wharf_nothing"), StatusCode::UNAUTHORIZED),
    ] {
        let client = Client::new(&gateway.address, token);
        for query in [
            "{ balance { total } }",
            "{ hosts { nodes { id } } }",
            "{ node(id: \"x\") { id } }",
            "mutation { pullImage(input: {reference: \"x\"}) { job { id } } }",
        ] {
            let (found, answer) = client.send(query, json!({})).await;
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
                "{query}"
            );
            assert_eq!(found, status, "{query} with {token:?}");
        }
    }
}

/// A table is missing: what the database says of it is for the log.
#[tokio::test]
async fn a_fault_of_the_program_is_answered_with_an_id_that_the_log_has() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let db = Database::connect(world.database_url()).await.unwrap();
    let rename = "ALTER TABLE registry_credentials RENAME TO hidden_away";
    db.execute_unprepared(rename).await.unwrap();
    db.close().await.unwrap();

    let query = "{ viewer { registryCredentials { id } } }";
    let save = "mutation { saveRegistryCredential(input: {registry: \"127.0.0.1:1\", username: \"u\", secret: \"hunter2\"})
        { userErrors { code } } }";
    let mut answers = Vec::new();
    for document in [query, save] {
        answers.push(client.send(document, json!({})).await.1);
    }
    let mut socket = Subscription::start(&client, query, json!({})).await;
    answers.push(until("an answer on the socket", async || socket.answer().await).await);
    for answer in answers {
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "INTERNAL", "{answer}");
        let error_id = error["extensions"]["id"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(error_id));
        let said = answer.to_string();
        for detail in [
            "registry_credentials",
            "no such table",
            "SQL",
            "sqlx",
            ".rs",
        ] {
            assert!(!said.contains(detail), "{said}");
        }
        let line = gateway.logged(error_id).await;
        assert!(line.contains("no such table"), "{line}");
    }
}

#[tokio::test]
async fn a_host_that_is_gone_takes_no_pulls() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_HOST__OFFLINE_AFTER", "1s");
    let token = world.user("ada", &[]);
    let mut worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let host = client.online_host("one").await;
    worker.crash();
    until("the host is offline", async || {
        let hosts = client
            .ask("{ hosts { nodes { online } } }", json!({}))
            .await;
        (hosts["hosts"]["nodes"] == json!([{"online": false}])).then_some(())
    })
    .await;

    for input in [
        json!({"reference": "127.0.0.1:1/x", "hostId": host}),
        json!({"reference": "127.0.0.1:1/x"}),
    ] {
        let payload = client.try_pull(input).await;
        assert_eq!(
            refusal(&payload),
            ("HOST_UNAVAILABLE", &json!(["input", "hostId"]))
        );
    }
    has_only(&client, 0).await;
}
