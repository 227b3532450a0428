//! Too many requests: refused with when to come back, and without a statement.

use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::graphql::Client;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{DEADLINE, until};

const QUERY: &str = "{ __typename }";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value
        .unwrap_or_else(|| panic!("no {name}"))
        .to_str()
        .unwrap()
}

/// Sends until a request is refused.
async fn refused(client: &Client) -> Response {
    until("a request is refused", async || {
        let answer = client.post(QUERY, json!({})).await;
        (answer.status() == StatusCode::TOO_MANY_REQUESTS).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn too_many_requests_are_refused_with_when_to_come_back_and_without_a_statement() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "1");
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let proxy = PostgresProxy::start(&world.database_url()).await;
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    let clients = [Some(ada.as_str()), None].map(|token| Client::new(&gateway.address, token));
    for (client, policy) in clients.iter().zip(["user", "address"]) {
        // The first request too, of which it was not known when it came for whom it counts.
        let first = client.post(QUERY, json!({})).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            header(&first, "ratelimit-policy"),
            format!("\"{policy}\";q=2;w=2")
        );

        let mut fewest = usize::MAX;
        for _ in 0..5 {
            refused(client).await;
            let before = proxy.executed();
            let answer = refused(client).await;
            fewest = fewest.min(proxy.executed() - before);
            assert_eq!(header(&answer, "retry-after"), "1");
            assert_eq!(
                header(&answer, "ratelimit-policy"),
                format!("\"{policy}\";q=2;w=2")
            );
            assert_eq!(
                header(&answer, "ratelimit"),
                format!("\"{policy}\";r=0;t=2")
            );
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "RATE_LIMITED",
                "{answer}"
            );
            let message = answer["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("limits.requests_per_second"), "{message}");
        }
        assert_eq!(fewest, 0, "{policy}");
    }
    // Each user has a bucket of their own, once it is known who they are.
    let bob = Client::new(&gateway.address, Some(&bob));
    until("Bob is let in", async || {
        let answer = bob.post(QUERY, json!({})).await;
        answer.status().is_success().then_some(())
    })
    .await;
    let answer = bob.post(QUERY, json!({})).await;
    assert!(answer.status().is_success(), "{answer:?}");
    assert!(header(&answer, "ratelimit").starts_with("\"user\";r="));
}

#[tokio::test]
async fn the_operations_of_a_socket_count_too() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "1");
    let token = world.user("ada", &[]);
    let gateway: Process = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    // From here on the gateway knows whose the token is.
    assert_eq!(client.post(QUERY, json!({})).await.status(), StatusCode::OK);
    let refusal = until("an operation is refused", async || {
        let socket = Subscription::over(&client, QUERY, 4).await?;
        socket
            .into_iter()
            .find(|message| message["type"] == "error")
    })
    .await;
    assert_eq!(
        refusal["payload"][0]["extensions"]["code"], "RATE_LIMITED",
        "{refusal}"
    );
}

#[tokio::test]
async fn everybody_behind_one_address_is_back_at_once_after_a_restart() {
    let mut world = World::embedded();
    // Ten may come at once: as many sockets. Each gives its address back what it cost, and then come as many requests.
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "5");
    let tokens: Vec<String> = (0..20)
        .map(|number| world.user(&format!("user{number}"), &[]))
        .collect();
    // No token has been seen by a gateway that has just started.
    let gateway = world.gateway().await;
    let clients: Vec<Client> = tokens
        .iter()
        .map(|token| World::client(&gateway, token))
        .collect();
    let half = clients.len() / 2;
    let balances = clients[..half].iter().map(|client| async {
        let balance = "subscription { balanceChanged { total } }";
        let mut socket = Subscription::start(client, balance, json!({})).await;
        socket.next().await.unwrap()
    });
    assert!(
        join_all(balances)
            .await
            .iter()
            .all(|balance| balance["total"] == "1000")
    );
    let requests = clients[half..].iter().map(|client| async {
        let answer = client.post(QUERY, json!({})).await;
        answer.status()
    });
    assert_eq!(join_all(requests).await, [StatusCode::OK; 10]);
}

#[tokio::test]
async fn an_address_owes_for_tokens_that_are_no_good() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "1");
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let gateway = world.gateway().await;
    let (ada, bob) = (World::client(&gateway, &ada), World::client(&gateway, &bob));
    assert_eq!(ada.post(QUERY, json!({})).await.status(), StatusCode::OK);
    let token = ada.token.clone().unwrap();
    // Sixty tokens that are no good, at once.
    let bad = World::client(&gateway, "whf_bad");
    let began = Instant::now();
    join_all((0..60).map(|_| bad.post(QUERY, json!({})))).await;
    let answer = refused(&bad).await;
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait} seconds");
    // Whom the gateway does not know waits, on both ways in; whom it knows does not.
    let answer = bob.post(QUERY, json!({})).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&answer, "ratelimit").starts_with("\"address\";r=0;"));
    assert_eq!(Subscription::upgrade_refused(&bob).await, 429);
    let bearer = format!("Bearer {token}");
    let known = ada.with_header("authorization", &bearer);
    until("Ada is let in, at her own rate", async || {
        let mut socket = Subscription::try_silent(&known).await?;
        socket.acknowledged().await.then_some(())
    })
    .await;
    // What is owed has a bound: Bob is not kept out for longer.
    until("Bob is let in", async || {
        let answer = bob.post(QUERY, json!({})).await;
        answer.status().is_success().then_some(())
    })
    .await;
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn sockets_that_say_nothing_cost_their_address_what_requests_do() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "5");
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let nobody = Client::new(&gateway.address, None);
    let silent = join_all((0..100).map(|_| Subscription::try_silent(&nobody))).await;
    let opened = silent.iter().flatten().count();
    // Ten at once, and what the rate brings while they come.
    assert!((1..100).contains(&opened), "{opened} were opened");
    let refused = until("one is refused", async || {
        let client = Subscription::try_silent(&nobody).await;
        client.is_none().then_some(())
    });
    refused.await;
    // Whoever is at the same address is let in as soon as the rate allows it, with a hundred silent sockets beside.
    let ada = World::client(&gateway, &token);
    let began = Instant::now();
    until("Ada is let in", async || {
        let answer = ada.post(QUERY, json!({})).await;
        answer.status().is_success().then_some(())
    })
    .await;
    assert!(began.elapsed() < DEADLINE / 3, "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test]
async fn what_is_refused_for_another_reason_says_what_is_left_too() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "50");
    let ada = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let ada = World::client(&gateway, &ada);
    ada.ask(QUERY, json!({})).await;
    for document in ["{ viewe }", "{", &"{".repeat(100)] {
        let answer = ada.post(document, json!({})).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"user\";q=100;w=2");
    }
}
