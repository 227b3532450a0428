//! GraphQL in this process: the endpoint as a gateway has it, with its authentication, limits and schema, on SQLite and PostgreSQL,
//! without a socket or a program of its own. What takes a process to see is in `end_to_end`.
#![allow(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

mod accounts;
mod administration;
mod authorisation;
mod board;
#[path = "../end_to_end/support/graphql.rs"]
mod client;
#[path = "../http/events.rs"]
mod events;
mod gateway;
mod lists;
mod odd_texts;
#[path = "../end_to_end/support/postgres_proxy.rs"]
#[allow(dead_code, reason = "end_to_end uses the rest")]
mod postgres_proxy;
mod publishing;
mod refusals;
#[path = "../../../jobs/tests/life/support/rows.rs"]
mod rows;
#[path = "../end_to_end/support/servers.rs"]
#[allow(dead_code, reason = "end_to_end uses the rest")]
mod servers;
mod statements;
#[path = "../end_to_end/support/waiting.rs"]
mod waiting;

use serde_json::Value;
use uuid::Uuid;

use client::Client;
use waiting::until;

/// The code of the only user error of a payload, and its field. Nothing was done.
fn refusal(payload: &Value) -> (&str, &Value) {
    let errors = payload["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{payload}");
    assert_ne!(errors[0]["message"], "");
    (errors[0]["code"].as_str().unwrap(), &errors[0]["field"])
}

/// The nodes of a connection, each by this field.
fn each<'a>(connection: &'a Value, field: &str) -> Vec<&'a str> {
    let nodes = connection["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node[field].as_str().unwrap()).collect()
}

/// Who is calling, as rows know them.
async fn user_id(client: &Client) -> Uuid {
    let id = client.viewer_id().await;
    id.strip_prefix("user_").unwrap().parse().unwrap()
}

/// Runs each of these tests on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::graphql_tests::gateway::Store::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::graphql_tests::gateway::Store::Postgres).await;
            })+
        }
    };
}
use on_both;
