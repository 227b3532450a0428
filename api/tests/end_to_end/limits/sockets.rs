//! Too many sockets and streams of one user: refused before their token is looked up.

use serde_json::{Value, json};

use crate::support::postgres_proxy::PostgresProxy;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

const BALANCE: &str = "subscription { balanceChanged { total } }";

/// The statements of other tasks of the gateway fall into some of the measurements, and never into all of them.
const MEASUREMENTS: usize = 8;

#[tokio::test]
async fn one_socket_too_many_is_refused_without_a_statement() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LIMITS__SOCKETS_PER_USER", "1");
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let proxy = PostgresProxy::start(&world.database_url()).await;
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    let (ada, bob) = (World::client(&gateway, &ada), World::client(&gateway, &bob));
    let mut open = Subscription::start(&ada, BALANCE, json!({})).await;
    assert_eq!(open.next().await.unwrap()["total"], "1000");

    let mut fewest = usize::MAX;
    for _ in 0..MEASUREMENTS {
        let before = proxy.executed();
        assert_eq!(Subscription::refused(&ada).await, 4429);
        fewest = fewest.min(proxy.executed() - before);
    }
    assert_eq!(fewest, 0);

    // A stream of events is one too. It comes as a request, whose token is looked up.
    let events = ada.with_header("accept", "text/event-stream");
    let mut fewest = usize::MAX;
    for _ in 0..MEASUREMENTS {
        let before = proxy.executed();
        let answer = events.stream(BALANCE, json!({})).await;
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED",
            "{answer}"
        );
        fewest = fewest.min(proxy.executed() - before);
    }
    assert_eq!(fewest, 1);
    let mut other = Subscription::start(&bob, BALANCE, json!({})).await;
    assert_eq!(other.next().await.unwrap()["total"], "1000");
}
