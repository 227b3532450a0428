//! One trace from the request through Redis to the engine's pull and the settle, received as a collector receives it.

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;
use wharfinger_entity::job;

use crate::support::collector::{Collector, Span};
use crate::support::graphql::{Client, done, id};
use crate::support::images::{pushed, stuck};
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{books, until};

/// The caller's trace and span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A fleet whose traces go to a collector.
struct Traced {
    collector: Collector,
    world: World,
    worker: Process,
    gateway: Process,
    client: Client,
}

impl Traced {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let collector = Collector::start().await;
        let mut world = World::fleet(Server::Postgres).await;
        collector.receive_from(&mut world);
        for (name, value) in settings {
            world.set(name, value);
        }
        let (worker, gateway, client) = world.work_for("ada").await;
        Self {
            collector,
            world,
            worker,
            gateway,
            client,
        }
    }

    /// Stops both processes, which sends what they have left.
    async fn stop(&mut self) {
        self.worker.stop().await;
        self.gateway.stop().await;
    }

    /// The client in the caller's trace.
    fn in_trace(&self) -> Client {
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        self.client.with_header("traceparent", &traceparent)
    }
}

/// The only span of this name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = all(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// Those of a name.
fn all<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert!(!found.is_empty(), "{name} in {spans:#?}");
    found
}

/// Fails unless a span is of this kind, below that parent.
fn is_below(span: &Span, parent: &str, kind: SpanKind) {
    assert_eq!(span.parent, parent, "{span:?}");
    assert_eq!(span.kind, kind, "{span:?}");
}

#[tokio::test]
async fn one_trace_leads_from_the_request_through_redis_to_the_settle() {
    let mut traced = Traced::start(&[]).await;
    let reference = pushed(&traced.world, 100_000).await;

    let job = traced.in_trace().pull(&reference).await;
    traced.client.succeeded(&job).await;
    traced.stop().await;

    let spans = traced.collector.trace(TRACE);
    let request = only(&spans, "POST /graphql");
    is_below(request, CALLER, SpanKind::Server);
    assert_eq!(request.service, "wharfinger-gateway");
    assert_eq!(request.attributes["http.request.method"], "POST");
    assert_eq!(request.attributes["http.route"], "/graphql");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    let operation = only(&spans, "mutation");
    is_below(operation, &request.id, SpanKind::Internal);
    assert_eq!(operation.attributes["graphql.operation.type"], "mutation");

    // Both the gateway's dispatcher and the worker's may hand it out.
    for dispatch in all(&spans, "dispatch") {
        is_below(dispatch, &request.id, SpanKind::Producer);
        assert_eq!(dispatch.attributes["messaging.destination.name"], "one");
    }

    let attempt = only(&spans, "job.pull_image");
    is_below(attempt, &request.id, SpanKind::Consumer);
    assert_eq!(attempt.service, "wharfinger-worker");
    let job_id = attempt.attributes["job.id"].replace('-', "");
    assert_eq!(format!("job_{job_id}"), job);
    assert_eq!(attempt.attributes["job.attempt"], "1");
    assert!(!attempt.failed);
    for phase in ["resolve", "record", "transfer", "inspect", "settle"] {
        let phase = only(&spans, phase);
        assert_eq!(phase.parent, attempt.id, "{phase:?}");
        assert_eq!(phase.service, attempt.service, "{phase:?}");
    }
    asked_others(&spans, &traced.world);

    // Nothing hangs in the air, nothing is told twice, and no SQL is told at all.
    let ids: BTreeSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len());
    for span in &spans {
        let known = span.parent == CALLER || ids.contains(span.parent.as_str());
        assert!(known, "{span:?}");
        assert!(!format!("{span:?}").contains("SELECT"), "{span:?}");
    }
}

/// The registry and the engine, as clients' spans where they belong.
fn asked_others(spans: &[Span], world: &World) {
    let of = |name: &str| &only(spans, name).id;
    let (host, port) = world.registry.address.split_once(':').unwrap();
    for manifest in all(spans, "GET /v2/{name}/manifests/{reference}") {
        is_below(manifest, of("resolve"), SpanKind::Client);
        assert_eq!(manifest.attributes["server.address"], host);
        assert_eq!(manifest.attributes["server.port"], port);
        assert_eq!(manifest.attributes["http.response.status_code"], "200");
    }

    let pull = only(spans, "POST /images/create");
    is_below(pull, of("transfer"), SpanKind::Client);
    assert_eq!(pull.attributes["network.transport"], "unix");
    assert_eq!(pull.attributes["url.template"], "/images/create");
    let inspections = all(spans, "GET /images/{name}/json");
    for phase in ["record", "transfer"] {
        let mut inspections = inspections.iter();
        let inspected = inspections.any(|span| &span.parent == of(phase) && !span.failed);
        assert!(inspected, "{phase}: {spans:#?}");
    }
    let tag = only(spans, "POST /images/{name}/tag");
    assert_eq!(&tag.parent, of("inspect"));
}

#[tokio::test]
async fn a_caller_who_is_not_sampled_is_not_recorded_and_still_found_in_the_log() {
    let mut traced = Traced::start(&[]).await;
    let client = &traced.client;
    let reference = pushed(&traced.world, 1000).await;
    let unsampled = format!("00-{TRACE}-{CALLER}-00");

    let unsampled = client.with_header("traceparent", &unsampled);
    client.succeeded(&unsampled.pull(&reference).await).await;
    let line = traced.worker.logged("attempt settled").await;
    assert!(line.contains(TRACE), "{line}");
    traced.stop().await;

    assert!(traced.collector.count() > 0);
    let spans = traced.collector.trace(TRACE);
    assert!(spans.is_empty(), "{spans:#?}");
    let db = books::database(&traced.world).await;
    let job = job::Entity::find().one(&db).await.unwrap().unwrap();
    let stored = job.traceparent.unwrap();
    let same = stored.starts_with(&format!("00-{TRACE}-")) && stored.ends_with("-00");
    assert!(same, "{stored}");
}

#[tokio::test]
async fn an_attempt_after_a_take_over_is_in_the_same_trace() {
    let mut traced = Traced::start(&[]).await;
    let (registry, job, _) = stuck(&traced.world, &traced.in_trace()).await;
    traced.worker.crash();
    registry.open();
    traced.worker = traced.world.worker().await;
    traced.client.succeeded(&job).await;
    traced.stop().await;

    // What the first worker knew of its attempt is gone with it.
    let spans = traced.collector.trace(TRACE);
    let request = only(&spans, "POST /graphql");
    let attempt = only(&spans, "job.pull_image");
    assert_eq!(attempt.parent, request.id);
    assert_eq!(attempt.attributes["job.attempt"], "2");
    assert_eq!(&only(&spans, "settle").parent, &attempt.id);
    let mut said = [traced.gateway.said(), traced.worker.said()].concat();
    said.retain(|line| line.contains("took a job over"));
    let in_trace = said.iter().all(|line| line.contains(TRACE));
    assert!(in_trace && !said.is_empty(), "{said:?}");
}

#[tokio::test]
async fn every_retry_is_in_the_same_trace_and_a_new_acceptance_links_to_it() {
    let mut traced = Traced::start(&[("WHARFINGER_RETRY__MAX_ATTEMPTS", "2")]).await;
    let client = &traced.client;

    // Nobody listens there.
    let job = traced.in_trace().pull("127.0.0.1:1/nothing:v1").await;
    assert_eq!(client.ended(&job).await["state"], "DEAD");
    let other = "0af7651916cd43dd8448eb211c80319c";
    let again = client.with_header("traceparent", &format!("00-{other}-{CALLER}-01"));
    done(&again, "retryJob", json!({"jobId": job}), "").await;
    let dead_again = |job: &Value| job["attempt"] == 4 && job["state"] == "DEAD";
    client.job_when(&job, "is dead again", dead_again).await;
    traced.stop().await;

    let spans = traced.collector.trace(TRACE);
    let request = only(&spans, "POST /graphql");
    let attempts = all(&spans, "job.pull_image");
    let numbers = attempts.iter().map(|span| &*span.attributes["job.attempt"]);
    let numbers: BTreeSet<&str> = numbers.collect();
    assert_eq!(numbers, BTreeSet::from(["1", "2"]));
    for attempt in attempts {
        assert_eq!(attempt.parent, request.id);
        assert!(attempt.failed, "{attempt:?}");
        assert_eq!(attempt.attributes["error.type"], "REGISTRY_UNAVAILABLE");
    }
    for asked in all(&spans, "GET /v2/{name}/manifests/{reference}") {
        assert!(asked.failed, "{asked:?}");
    }

    let second = traced.collector.trace(other);
    let retry = only(&second, "mutation");
    let attempts = all(&second, "job.pull_image");
    assert_eq!(attempts.len(), 2, "{second:#?}");
    assert!(attempts.iter().all(|attempt| attempt.parent == retry.id));
    let linked: Vec<_> = second.iter().flat_map(|span| &span.links).collect();
    assert_eq!(linked, [&request.id]);
}

#[tokio::test]
async fn operations_on_a_websocket_are_in_the_callers_trace() {
    let mut traced = Traced::start(&[]).await;
    let in_trace = traced.in_trace();
    let reference = pushed(&traced.world, 100_000).await;

    let mutation = "mutation Fetch($input: PullImageInput!) { pullImage(input: $input) { job { id } userErrors { code } } }";
    let variables = json!({"input": {"reference": reference}});
    let mut socket = Subscription::start(&in_trace, mutation, variables).await;
    let payload = socket.next().await.unwrap();
    assert_eq!(payload["userErrors"], json!([]));
    let job = id(&payload["job"]);
    let mut progress = Subscription::progress(&in_trace, &job).await;
    progress.rest().await;
    traced.client.succeeded(&job).await;
    drop((socket, progress));
    traced.stop().await;

    let spans = traced.collector.trace(TRACE);
    let mutation = only(&spans, "mutation");
    is_below(mutation, CALLER, SpanKind::Server);
    assert_eq!(mutation.attributes["graphql.operation.name"], "Fetch");
    is_below(only(&spans, "subscription"), CALLER, SpanKind::Server);
    assert_eq!(only(&spans, "job.pull_image").parent, mutation.id);
}

/// Longer than the flush may take, and much shorter than a collector that never answers.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_slows_nothing() {
    away("http://127.0.0.1:1").await;
}

#[tokio::test]
async fn a_collector_that_never_answers_is_told_of_once_and_slows_nothing() {
    // Connections are made and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    away(&format!("http://{}", silent.local_addr().unwrap())).await;
}

async fn away(endpoint: &str) {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    world.set("OTEL_BSP_SCHEDULE_DELAY", "100");
    let (mut worker, mut gateway, client) = world.work_for("ada").await;
    let reference = pushed(&world, 1000).await;
    let job = client.pull(&reference).await;
    client.succeeded(&job).await;
    worker.logged("traces cannot be sent").await;
    gateway.logged("traces cannot be sent").await;
    // More batches than one fail: each request is a span, and each batch waits for 100 ms.
    let start = Instant::now();
    until("some batches have failed", async || {
        client.balance().await;
        (start.elapsed() > Duration::from_secs(1)).then_some(())
    })
    .await;

    let start = Instant::now();
    tokio::join!(worker.stop(), gateway.stop());
    assert!(start.elapsed() < STOPS_WITHIN, "{:?}", start.elapsed());
    for process in [&worker, &gateway] {
        let said = process.said().join("\n");
        assert_eq!(said.matches("traces cannot be sent").count(), 1, "{said}");
    }
}
