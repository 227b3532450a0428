//! Too many requests: refused with when to come back, and without a statement.

use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::graphql::Client;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{DEADLINE, until};

const QUERY: &str = "{ __typename }";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
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
    let proxy = world.behind_proxy().await;
    let gateway = world.gateway().await;
    let clients = [gateway.client(&ada), gateway.anonymous()];
    for (client, counted_for) in clients.iter().zip(["user", "address"]) {
        let policy = format!("\"{counted_for}\";q=2;w=2");
        // The first request too, of which it was not known when it came for whom it counts.
        let first = client.post(QUERY, json!({})).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(header(&first, "ratelimit-policy"), policy);

        let send = async || {
            let answer = refused(client).await;
            assert_eq!(header(&answer, "retry-after"), "1");
            assert_eq!(header(&answer, "ratelimit-policy"), policy);
            let left = format!("\"{counted_for}\";r=0;t=2");
            assert_eq!(header(&answer, "ratelimit"), left);
            let answer: Value = answer.json().await.unwrap();
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{answer}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("limits.requests_per_second"), "{message}");
        };
        assert_eq!(proxy.fewest(send).await, 0, "{policy}");
    }
    // Each user has a bucket of their own, once it is known who they are.
    let bob = gateway.client(&bob);
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
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    // From here on the gateway knows whose the token is.
    assert_eq!(client.post(QUERY, json!({})).await.status(), StatusCode::OK);
    let refusal = until("an operation is refused", async || {
        let mut socket = Subscription::enter(&client).await?;
        for id in ["1", "2", "3", "4"] {
            let end = socket.operation(id, QUERY).await;
            if end["type"] == "error" {
                return Some(end);
            }
        }
        None
    })
    .await;
    let code = &refusal["payload"][0]["extensions"]["code"];
    assert_eq!(code, "RATE_LIMITED", "{refusal}");
}

#[tokio::test]
async fn everybody_behind_one_address_is_back_at_once_after_a_restart() {
    let mut world = World::embedded();
    // Ten may come at once: as many sockets. Each gives its address back what it cost, and then come as many requests.
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "5");
    let tokens = (0..20).map(|number| world.user(&format!("user{number}"), &[]));
    let tokens: Vec<String> = tokens.collect();
    // No token has been seen by a gateway that has just started.
    let gateway = world.gateway().await;
    let clients: Vec<Client> = tokens.iter().map(|token| gateway.client(token)).collect();
    let (of_sockets, of_requests) = clients.split_at(10);
    let balances = of_sockets.iter().map(|client| async {
        let balance = "subscription { balanceChanged { total } }";
        let mut socket = Subscription::start(client, balance, json!({})).await;
        socket.next().await.unwrap()
    });
    for balance in join_all(balances).await {
        assert_eq!(balance["total"], "1000");
    }
    let requests = of_requests.iter().map(|client| async {
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
    let (ada, bob) = (gateway.client(&ada), gateway.client(&bob));
    assert_eq!(ada.post(QUERY, json!({})).await.status(), StatusCode::OK);
    // Sixty tokens that are no good, at once.
    let bad = gateway.client("whf_bad");
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
    let bearer = format!("Bearer {}", ada.token.as_ref().unwrap());
    let known = ada.with_header("authorization", &bearer);
    until("Ada is let in, at her own rate", async || {
        let mut socket = Subscription::try_silent(&known).await?;
        socket.is_let_in(None).await.then_some(())
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
    let nobody = gateway.anonymous();
    let silent = join_all((0..100).map(|_| Subscription::try_silent(&nobody))).await;
    let opened = silent.iter().flatten().count();
    // Ten at once, and what the rate brings while they come.
    assert!((1..100).contains(&opened), "{opened} were opened");
    until("one is refused", async || {
        let client = Subscription::try_silent(&nobody).await;
        client.is_none().then_some(())
    })
    .await;
    // Whoever is at the same address is let in as soon as the rate allows it, with a hundred silent sockets beside.
    let ada = gateway.client(&token);
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
    let ada = gateway.client(&ada);
    ada.ask(QUERY, json!({})).await;
    for document in ["{ viewe }", "{", &"{".repeat(100)] {
        let answer = ada.post(document, json!({})).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"user\";q=100;w=2");
    }
}
