//! Many who watch the same pull: what they share, what they do not, and what happens to them without Redis or the
//! database.

use serde_json::{Value, json};

use crate::events::Events;
use crate::metrics::Scrape;
use crate::node::Script;
use crate::support::graphql::done;
use crate::support::images::{pushed, stuck};
use crate::support::process::Process;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::until;
use crate::support::world::World;

/// What a viewer is shown that others may not see.
const BEYOND: &str = "subscription($id: ID!) {
    pullProgress(jobId: $id) { sequence state job { requestedBy { name apiTokens { name current } } } }
}";

/// The state alone.
const STATE: &str = "subscription($id: ID!) { pullProgress(jobId: $id) { sequence state } }";

const CHANGES: &str = "subscription { jobUpdated { id state } }";

const ALL_CHANGES: &str = "subscription { jobUpdated(all: true) { id state } }";

const BALANCE: &str = "subscription { balanceChanged { total } }";

/// Waits until the gateway runs so many subscriptions once for all who are told the same.
async fn executions(gateway: &Process, expected: f64) {
    until("as many executions run", async || {
        let scrape = Scrape::of(gateway).await;
        (scrape.get("wharfinger_shared_executions", "") == Some(expected)).then_some(())
    })
    .await;
}

/// Reads streams of a pull up to its good end, with which they complete.
async fn succeed(streams: Vec<Events>) {
    for mut stream in streams {
        while stream.result().await["data"]["pullProgress"]["state"] != "SUCCEEDED" {}
        stream.completes().await;
    }
}

/// Waits until watchers of a user's jobs and credits are told that a pull succeeded and was charged.
async fn told_of_the_end(
    changes: &mut Subscription,
    balance: &mut Subscription,
    job: &str,
    before: &Value,
) {
    let end = json!({"id": job, "state": "SUCCEEDED"});
    changes
        .next_where("the job succeeded", |change| *change == end)
        .await;
    let charged = |balance: &Value| balance["total"] != *before;
    balance.next_where("the image was charged", charged).await;
}

#[tokio::test]
async fn what_is_shared_is_nobody_elses() {
    let world = World::embedded();
    let (gateway, ada) = world.serve_to("ada").await;
    let user = |name: &str, more: &[&str]| gateway.client(&world.user(name, more));
    let [root, ruth] = ["root", "ruth"].map(|name| user(name, &["--admin"]));
    let bob = user("bob", &[]);
    let (registry, job, _) = stuck(&world, &ada).await;
    let second = json!({"name": "second"});
    let second = done(&ada, "createApiToken", second, "secret").await;
    let by_second = ada.with_token(second["secret"].as_str());

    let variables = json!({"id": job});
    let bob_is_refused = async || {
        for query in [STATE, BEYOND] {
            let mut of_bob = Subscription::start(&bob, query, variables.clone()).await;
            assert_eq!(of_bob.refusal().await["extensions"]["code"], "BAD_REQUEST");
        }
    };
    bob_is_refused().await;
    // Twice, so that the second joins what the first began; and those who may see less come after those who may see more.
    let mut sockets = Vec::new();
    let callers = [&root, &ruth, &ada, &by_second];
    for client in callers.repeat(2) {
        let mut socket = Subscription::start(client, BEYOND, variables.clone()).await;
        let first = socket.next().await.unwrap();
        let owner = &first["job"]["requestedBy"];
        assert_eq!(owner["name"], "ada");
        let tokens = owner["apiTokens"].as_array().unwrap().iter();
        let current = tokens.filter(|token| token["current"] == true);
        let current: Vec<_> = current.map(|token| token["name"] == "second").collect();
        let expected = match &client.token {
            token if *token == by_second.token => vec![true],
            token if *token == ada.token => vec![false],
            _ => vec![],
        };
        assert_eq!(current, expected);
        sockets.push(socket);
    }
    // Of the state alone all administrators are told the same.
    for client in callers {
        let mut socket = Subscription::start(client, STATE, variables.clone()).await;
        assert_eq!(socket.next().await.unwrap()["state"], "RUNNING");
        sockets.push(socket);
    }
    bob_is_refused().await;
    registry.open();
    for socket in &mut sockets {
        assert_eq!(socket.rest().await.last().unwrap()["state"], "SUCCEEDED");
    }
    // Whoever comes after the end is told it, too.
    let mut late = Subscription::start(&ada, STATE, variables).await;
    assert_eq!(late.next().await.unwrap()["state"], "SUCCEEDED");
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn a_pull_is_watched_by_one_execution_for_sockets_and_streams() {
    // As clients send it: with a name, and without saying which of the document's operations is meant.
    let named = STATE.replace("subscription(", "subscription Watch(");
    let world = World::embedded();
    let (gateway, ada) = world.serve_to("ada").await;
    let (registry, job, _) = stuck(&world, &ada).await;
    let variables = json!({"id": job});
    let (mut sockets, mut streams) = (Vec::new(), Vec::new());
    let reader = ada.with_header("accept", "text/event-stream");
    for _ in 0..3 {
        let mut socket = Subscription::start(&ada, &named, variables.clone()).await;
        assert_eq!(socket.next().await.unwrap()["state"], "RUNNING");
        sockets.push(socket);
        let mut stream = Events::of(reader.stream(&named, variables.clone()).await);
        let first = stream.result().await;
        assert_eq!(first["data"]["pullProgress"]["state"], "RUNNING");
        streams.push(stream);
    }
    executions(&gateway, 1.0).await;
    registry.open();
    for socket in &mut sockets {
        assert_eq!(socket.rest().await.last().unwrap()["state"], "SUCCEEDED");
    }
    succeed(streams).await;
    executions(&gateway, 0.0).await;
}

#[tokio::test]
async fn a_stream_that_ends_makes_room_though_others_share_its_execution() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__SOCKETS_PER_USER", "2");
    let (gateway, ada) = world.serve_to("ada").await;
    let (registry, job, _) = stuck(&world, &ada).await;
    let reader = ada.with_header("accept", "text/event-stream");
    let open = async || {
        let answer = reader.stream(STATE, json!({"id": job})).await;
        let media = answer.headers()["content-type"].to_str().unwrap();
        let streamed = media.starts_with("text/event-stream");
        streamed.then(|| Events::of(answer))
    };
    let mut streams = Vec::new();
    for _ in 0..2 {
        // The socket by which the pull was watched may not be gone yet.
        let mut stream = until("there is room", open).await;
        let first = stream.result().await;
        assert_eq!(first["data"]["pullProgress"]["state"], "RUNNING");
        streams.push(stream);
    }
    assert!(open().await.is_none(), "there is room for two");
    executions(&gateway, 1.0).await;
    // The first one began it.
    drop(streams.remove(0));
    streams.push(until("the first one's room is free", open).await);
    registry.open();
    succeed(streams).await;
}

#[tokio::test]
async fn watchers_stay_and_miss_no_end_when_redis_restarts() {
    let mut world = World::fleet(Server::Postgres).await;
    let (_worker, _gateway, ada) = world.work_for("ada").await;
    let (registry, job, _) = stuck(&world, &ada).await;

    let redis = world.redis.as_mut().unwrap();
    let before = redis.subscribing().await;
    let mut watchers = Vec::new();
    for number in 0..40 {
        // Every other one has a selection of its own.
        let query = match number % 2 {
            0 => STATE.to_owned(),
            _ => STATE.replace("state", &format!("s{number}: phase state")),
        };
        let mut watcher = Subscription::start(&ada, &query, json!({"id": job})).await;
        assert_eq!(watcher.next().await.unwrap()["state"], "RUNNING");
        watchers.push(watcher);
    }
    let mut changes = Subscription::start(&ada, CHANGES, json!({})).await;
    let mut balance = Subscription::start(&ada, BALANCE, json!({})).await;
    let total = balance.next().await.unwrap()["total"].clone();
    let during = redis.subscribing().await;
    assert_eq!(during, before, "subscribers cost no connection to Redis");

    // The pull ends while nobody can be told.
    redis.kill();
    registry.open();
    ada.succeeded(&job).await;
    redis.up().await;
    for watcher in &mut watchers {
        let events = watcher.rest().await;
        assert_eq!(events.last().unwrap()["state"], "SUCCEEDED");
        let number = |event: &Value| event["sequence"].as_i64();
        assert!(events.is_sorted_by(|one, next| number(one) < number(next)));
    }
    told_of_the_end(&mut changes, &mut balance, &job, &total).await;
    until("there are as many connections as before", async || {
        (redis.subscribing().await == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_database_could_not_say_is_told_once_it_can() {
    let mut world = World::fleet(Server::Postgres).await;
    let (_worker, _direct, ada) = world.work_for("ada").await;
    let proxy = world.behind_proxy().await;
    let gateway = world.gateway().await;
    let watcher = gateway.client(ada.token.as_deref().unwrap());
    let (registry, job, _) = stuck(&world, &ada).await;
    let mut changes = Subscription::start(&watcher, CHANGES, json!({})).await;
    changes
        .next_where("the job is there", |change| change["id"] == job)
        .await;
    let mut balance = Subscription::start(&watcher, BALANCE, json!({})).await;
    let total = balance.next().await.unwrap()["total"].clone();

    // The pull ends while the watcher's gateway cannot read what it is told of.
    proxy.close();
    registry.open();
    ada.succeeded(&job).await;
    for socket in [&mut changes, &mut balance] {
        while !socket.answer().await["errors"].is_array() {}
    }
    // It is told so once; and no event comes any more that would make the gateway look.
    proxy.open();
    told_of_the_end(&mut changes, &mut balance, &job, &total).await;
}

#[tokio::test]
async fn an_administrator_who_watches_their_own_jobs_is_told_of_no_others() {
    let world = World::fleet(Server::Postgres).await;
    let (_worker, gateway, ada) = world.work_for("ada").await;
    let root = gateway.client(&world.user("root", &["--admin"]));
    let (_registry, of_ada, _) = stuck(&world, &ada).await;
    // Through Redis the first of a topic looks for what it may have missed: for an administrator's eyes Ada's job, too.
    let mut all = Subscription::start(&root, ALL_CHANGES, json!({})).await;
    all.next_where("it is Ada's job", |change| change["id"] == of_ada)
        .await;
    let mut own = Subscription::start(&root, CHANGES, json!({})).await;
    let job = root.pull(&pushed(&world, 1000).await).await;
    let mut state = Value::Null;
    while state != "SUCCEEDED" {
        let change = own.next().await.unwrap();
        assert_eq!(change["id"], job);
        state = change["state"].clone();
    }
}

#[tokio::test]
async fn the_client_of_npm_graphql_ws_watches_a_pull() {
    let world = World::embedded();
    let (gateway, ada) = world.serve_to("ada").await;
    let (registry, job, _) = stuck(&world, &ada).await;
    let url = format!("ws://{}/graphql", gateway.address);
    let token = ada.token.unwrap();
    let mut script = Script::start("graphql-ws.mjs", &[&url, &token, &job]);
    assert_eq!(script.line().await.as_deref(), Some("watching"));
    registry.open();
    script.succeed().await;
}
