//! What a gateway and a worker serve beside `/graphql`.

use serde_json::{Value, json};

use crate::node::Script;
use crate::support::servers::Server;
use crate::support::until;
use crate::support::world::World;

#[tokio::test]
async fn a_gateway_serves_its_health_schema_and_playground() {
    let world = World::embedded();
    let gateway = world.serve().await;
    let client = gateway.anonymous();

    assert_eq!(client.get("/healthz").await.status(), 200);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status(), 200);
    let ready: Value = ready.json().await.unwrap();
    let mut ok = json!({"ready": true, "database": "ok", "queue": "ok", "engine": "ok"});
    let tasks = "cancellations dispatcher hand_back heartbeat housekeeping metrics queue_worker reconciler \
                 sessions signals token_lookups write_probe";
    for task in tasks.split(' ') {
        ok[task] = "ok".into();
    }
    assert_eq!(ready, ok);
    let metrics = client.get("/metrics").await;
    assert_eq!(metrics.status(), 200);
    let media = metrics.headers()["content-type"].to_str().unwrap();
    assert!(media.starts_with("text/plain"), "{media}");
    let schema = client.get("/schema.graphql").await.text().await.unwrap();
    assert!(schema == include_str!("../../schema.graphql"));
    let tag = client.get("/schema.graphql").await.headers()["etag"].clone();
    let known = client.with_header("if-none-match", tag.to_str().unwrap());
    assert_eq!(known.get("/schema.graphql").await.status(), 304);
    assert_eq!(client.get("/nothing").await.status(), 404);
}

#[tokio::test]
async fn every_audit_of_graphql_over_http_passes_at_the_gateway() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let url = format!("http://{}/graphql", gateway.address);
    let said = Script::start("audit.mjs", &[&url, &token]).succeed().await;
    assert_eq!(said, ["61 of 61 audits passed"]);
}

#[tokio::test]
async fn a_gateway_with_a_list_of_trusted_documents_executes_no_other() {
    let mut world = World::embedded();
    let name = "WHARFINGER_PERSISTED_QUERIES__TRUSTED_DOCUMENTS_FILE";
    let file = world.file("wrong.json", "{\"abc\": \"{ viewer { name } }\"}");
    world.set(name, &file);
    let said = world.refused(&["serve", "--no-worker"]);
    for part in [name, "\"abc\" is not the SHA-256"] {
        assert!(said.contains(part), "{said}");
    }

    // printf '{ viewer { name } }' | sha256sum
    let manifest = json!({"3f9a5fe58741fdcb3ba59d8cc865ce0c081b65bca09f7904bc81277be1bdd3f0": "{ viewer { name } }"});
    let file = world.file("trusted.json", &manifest.to_string());
    world.set(name, &file);
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let viewer = client.ask("{ viewer { name } }", json!({})).await;
    assert_eq!(viewer["viewer"]["name"], "ada");
    let (status, answer) = client.send("{ viewer { id } }", json!({})).await;
    assert_eq!(status, 403);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[tokio::test]
async fn a_worker_is_ready_while_its_engine_answers() {
    let world = World::fleet(Server::Postgres).await;
    let (with, without) = (
        world.worker().await,
        world.worker_at("two", "tcp://127.0.0.1:1").await,
    );
    let ready = with.anonymous();
    until("the worker is ready", async || {
        (ready.get("/readyz").await.status() == 200).then_some(())
    })
    .await;
    let unready = without.anonymous();
    assert_eq!(unready.get("/readyz").await.status(), 503);
    for worker in [ready, unready] {
        assert_eq!(worker.get("/healthz").await.status(), 200);
        assert_eq!(worker.get("/metrics").await.status(), 200);
    }
}
