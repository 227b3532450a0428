//! Too many sockets and streams of one user: refused before their token is looked up.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::until;
use crate::support::world::World;

const BALANCE: &str = "subscription { balanceChanged { total } }";

#[tokio::test]
async fn one_socket_too_many_is_refused_without_a_statement() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LIMITS__SOCKETS_PER_USER", "1");
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let proxy = world.behind_proxy().await;
    let gateway = world.gateway().await;
    let (ada, bob) = (gateway.client(&ada), gateway.client(&bob));
    let mut open = Subscription::start(&ada, BALANCE, json!({})).await;
    assert_eq!(open.next().await.unwrap()["total"], "1000");

    let socket = async || assert_eq!(Subscription::refused(&ada).await, 4429);
    assert_eq!(proxy.fewest(socket).await, 0);

    // A stream of events is one too. It comes as a request, whose token is looked up.
    let events = ada.with_header("accept", "text/event-stream");
    let stream = async || {
        let answer = events.stream(BALANCE, json!({})).await;
        let answer: Value = answer.json().await.unwrap();
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "LIMIT_EXCEEDED", "{answer}");
    };
    assert_eq!(proxy.fewest(stream).await, 1);
    let mut other = Subscription::start(&bob, BALANCE, json!({})).await;
    assert_eq!(other.next().await.unwrap()["total"], "1000");
    drop(open);
    until("there is room again", async || {
        Subscription::enter(&ada).await
    })
    .await;
}

#[tokio::test]
async fn sockets_that_do_not_say_whose_they_are_have_a_number() {
    let mut world = World::embedded();
    let most = "WHARFINGER_LIMITS__UNIDENTIFIED_SOCKETS_PER_ADDRESS";
    world.set(most, "2");
    world.set("WHARFINGER_WEBSOCKET__INIT_TIMEOUT", "5m");
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let (nobody, ada) = (gateway.anonymous(), gateway.client(&token));
    let has_room = async || {
        until("there is room for a socket", async || {
            Subscription::try_silent(&nobody).await
        })
        .await
    };
    let first = Subscription::silent(&nobody).await;
    let mut second = Subscription::silent(&nobody).await;
    assert_eq!(Subscription::upgrade_refused(&nobody).await, 429);
    // A client that goes leaves its place.
    drop(first);
    let first = has_room().await;
    assert_eq!(Subscription::upgrade_refused(&nobody).await, 429);
    // So does one that is closed: this one has no token.
    assert!(!second.is_let_in(None).await);
    drop(second);
    let mut second = has_room().await;
    // And one that says whose it is, for as long as it lasts.
    second.introduce(Some(&token)).await;
    let third = has_room().await;
    assert_eq!(Subscription::upgrade_refused(&nobody).await, 429);
    // Whom the gateway knows by the request's headers is none of them.
    let bearer = format!("Bearer {token}");
    let known = ada.with_header("authorization", &bearer);
    ada.ask("{ viewer { name } }", json!({})).await;
    assert!(Subscription::silent(&known).await.is_let_in(None).await);
    drop((first, second, third));

    world.set(most, "0");
    let gateway = world.gateway().await;
    let nobody = gateway.anonymous();
    let any = (0..210).map(|_| Subscription::silent(&nobody));
    assert_eq!(join_all(any).await.len(), 210);
}
