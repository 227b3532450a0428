//! Too many requests: refused with when to come back, and without a statement.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::graphql::Client;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::until;
use crate::support::world::World;

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
        let first = client.post(QUERY, json!({})).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert!(header(&first, "ratelimit-policy").ends_with(";q=2;w=2"));

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
    assert_eq!(header(&answer, "ratelimit"), "\"user\";r=1;t=1");
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
