//! Server-sent events of the real gateway, to npm graphql-sse and byte by byte.

use serde_json::{Value, json};

use crate::events::Events;
use crate::node::Script;
use crate::support::graphql::Client;
use crate::support::images::{downloads, stuck};
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

const PROGRESS: &str = "subscription($id: ID!) {
    pullProgress(jobId: $id) { job { id } sequence state phase downloaded total layers { id state downloaded } updatedAt }
}";
const BALANCE: &str = "subscription { balanceChanged { available held total } }";

fn watch(client: &Client, query: &str, variables: &Value) -> Script {
    let url = format!("http://{}/graphql", client.address);
    let token = client.token.as_deref().unwrap();
    Script::start("sse.mjs", &[&url, token, query, &variables.to_string()])
}

/// The only field of a line that the script printed.
fn event(line: &str) -> Value {
    let mut result: Value = serde_json::from_str(line).unwrap();
    assert_eq!(result.get("errors"), None, "{line}");
    let data = result["data"].as_object_mut().unwrap();
    data.values_mut().next().unwrap().take()
}

/// Reads the script's lines until one is as it should be.
async fn event_where(script: &mut Script, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    while !events.last().is_some_and(&holds) {
        events.push(event(&script.line().await.expect("another event")));
    }
    events
}

/// Reads the script's lines to the end of a pull that succeeds. Returns the last event; none came twice.
async fn succeeds(script: Script, mut events: Vec<Value>) -> Value {
    let rest = script.succeed().await;
    let (complete, rest) = rest.split_last().unwrap();
    assert_eq!(complete, "\"complete\"");
    events.extend(rest.iter().map(|line| event(line)));
    let number = |event: &Value| event["sequence"].as_i64().unwrap();
    let rises = events.is_sorted_by(|one, next| number(one) < number(next));
    assert!(rises, "{events:#?}");
    let last = events.pop().unwrap();
    assert_eq!(last["state"], "SUCCEEDED", "{last}");
    last
}

#[tokio::test]
async fn a_pull_is_watched_with_graphql_sse_as_over_a_socket() {
    let world = World::embedded();
    let (_gateway, client) = world.serve_to("ada").await;
    let mut balances = watch(&client, BALANCE, &json!({}));
    let held = |amount: &'static str| move |balance: &Value| balance["held"] == amount;
    event_where(&mut balances, held("0")).await;

    let (registry, job, _) = stuck(&world, &client).await;
    let variables = json!({"id": job});
    let mut streamed = watch(&client, PROGRESS, &variables);
    let mut socket = Subscription::start(&client, PROGRESS, variables).await;
    let events = event_where(&mut streamed, downloads).await;
    socket.next_where("bytes have arrived", downloads).await;
    registry.open();
    let last = succeeds(streamed, events).await;
    assert_eq!(last["phase"], "DONE", "{last}");
    assert_eq!(Some(&last), socket.rest().await.last());
    let settled = event_where(&mut balances, held("0")).await;
    assert_eq!(settled.last().unwrap()["total"], "997");

    // Queries and mutations are answered in the same way.
    let mut query = watch(&client, "{ balance { total } }", &json!({}));
    assert_eq!(event(&query.line().await.unwrap()), json!({"total": "997"}));
    assert_eq!(query.succeed().await, ["\"complete\""]);
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_was() {
    let world = World::embedded();
    let (_gateway, client) = world.serve_to("ada").await;
    let (registry, job, _) = stuck(&world, &client).await;
    let stream = async |last: Option<&str>| {
        let mut client = client.with_header("accept", "text/event-stream");
        if let Some(last) = last {
            client = client.with_header("last-event-id", last);
        }
        Events::of(client.stream(PROGRESS, json!({"id": job})).await)
    };
    let sequence = |event: &Value| event["data"]["pullProgress"]["sequence"].to_string();

    let mut first = stream(None).await;
    let seen = loop {
        let event = first.next().await.unwrap();
        let data = event.json();
        assert_eq!(event.id.unwrap_or_default(), sequence(&data));
        if downloads(&data["data"]["pullProgress"]) {
            break sequence(&data);
        }
    };
    drop(first);
    let mut second = stream(Some(&seen)).await;
    registry.open();
    let mut last = String::new();
    loop {
        let event = second.next().await.unwrap();
        if event.name == "complete" {
            break;
        }
        last = event.id.unwrap();
        let number = |id: &str| id.parse::<i64>().unwrap();
        assert!(number(&last) > number(&seen), "{last} after {seen}");
    }
    client.succeeded(&job).await;

    // Whoever has seen the end is not told it again; whoever has not is told nothing else.
    stream(Some(&last)).await.completes().await;
    for before in [Some(seen.as_str()), None] {
        let mut late = stream(before).await;
        let end = late.result().await;
        assert_eq!(end["data"]["pullProgress"]["state"], "SUCCEEDED");
        assert_eq!(sequence(&end), last);
        late.completes().await;
    }
}

#[tokio::test]
async fn graphql_sse_stays_with_a_pull_through_a_restart_of_its_gateway() {
    let mut world = World::fleet(Server::Postgres).await;
    let (_worker, mut gateway, client) = world.work_for("ada").await;
    let (registry, job, _) = stuck(&world, &client).await;
    let mut streamed = watch(&client, PROGRESS, &json!({"id": job}));
    let events = event_where(&mut streamed, downloads).await;
    gateway.stop().await;
    world.set("WHARFINGER_LISTEN", &gateway.address);
    let _gateway = world.gateway().await;
    registry.open();
    succeeds(streamed, events).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let world = World::embedded();
    let root = world.user("root", &["--admin"]);
    let (ada, eve) = (world.user("ada", &[]), world.user("eve", &[]));
    let gateway = world.gateway().await;
    let root = gateway.client(&root);
    let open = async |token: &str| {
        let client = gateway
            .client(token)
            .with_header("accept", "text/event-stream");
        let mut events = Events::of(client.stream(BALANCE, json!({})).await);
        let balance = events.result().await;
        assert_eq!(balance["data"]["balanceChanged"]["total"], "1000");
        events
    };
    let (mut of_ada, mut of_eve) = (open(&ada).await, open(&eve).await);

    let eve = gateway.client(&eve).viewer_id().await;
    let out = "mutation { signOut { userErrors { code } } }";
    gateway.client(&ada).ask(out, json!({})).await;
    root.ban(&eve).await;
    for events in [&mut of_ada, &mut of_eve] {
        let end = events.result().await;
        assert_eq!(end["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        events.completes().await;
    }
    let refused = gateway
        .client(&ada)
        .with_header("accept", "text/event-stream");
    assert_eq!(refused.stream(BALANCE, json!({})).await.status(), 401);
}
