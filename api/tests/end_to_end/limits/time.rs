//! Requests that take too long: answered in time, and their statements end in the database.

use std::time::Duration;

use reqwest::StatusCode;
use sea_orm::{
    ColumnTrait as _, ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection,
    DbBackend, EntityTrait as _, QueryFilter as _, Statement, TransactionTrait as _,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use wharfinger_entity::api_token;

use crate::support::books::database;
use crate::support::graphql::{Client, done};
use crate::support::servers::Server;
use crate::support::until;
use crate::support::world::World;

/// What a request may take here.
const LIMIT: Duration = Duration::from_secs(1);

/// A gateway whose requests may take a second, and a connection beside it.
async fn limited(server: Server) -> (World, DatabaseConnection) {
    let mut world = World::fleet(server).await;
    world.set("WHARFINGER_LIMITS__REQUEST_TIME", "1s");
    let beside = database(&world).await;
    (world, beside)
}

/// How many statements about a table are being executed by others in this database.
async fn waiting(beside: &DatabaseConnection, table: &str) -> usize {
    let backend = beside.get_database_backend();
    let query = match backend {
        DbBackend::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1"
        }
        _ => {
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND command IN ('Query', 'Execute') AND id <> CONNECTION_ID() AND info LIKE ?"
        }
    };
    let named = format!("%{table}%");
    let query = Statement::from_sql_and_values(backend, query, [named.into()]);
    beside.query_all_raw(query).await.unwrap().len()
}

/// The answer to a request while another transaction has the lock that it waits for. Its statement has ended soon after.
async fn answered_while_locked(
    client: &Client,
    query: &str,
    variables: Value,
    (beside, table): (&DatabaseConnection, &str),
) -> (StatusCode, Value) {
    let waits = until("the statement waits", async || {
        (waiting(beside, table).await > 0).then(Instant::now)
    });
    let (begun, answer) = tokio::join!(waits, client.send(query, variables));
    until("the statement has ended", async || {
        (waiting(beside, table).await == 0).then_some(())
    })
    .await;
    assert!(begun.elapsed() < 10 * LIMIT);
    answer
}

async fn a_query_that_waits_is_answered_and_ends(server: Server) {
    let (world, beside) = limited(server).await;
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let lock = beside.begin().await.unwrap();
    let table = match server {
        Server::Postgres => "LOCK TABLE images IN ACCESS EXCLUSIVE MODE",
        Server::MariaDb => "LOCK TABLES images WRITE",
    };
    lock.execute_unprepared(table).await.unwrap();
    let query = "{ images { nodes { id } } }";
    let images = (&beside, "images");
    let (_, answer) = answered_while_locked(&client, query, json!({}), images).await;
    refused_for_its_time(&answer);
    // The lock is still held: what ended the statement is not that it got it.
    if server == Server::MariaDb {
        lock.execute_unprepared("UNLOCK TABLES").await.unwrap();
    }
    lock.rollback().await.unwrap();
    client.ask(query, json!({})).await;
}

fn refused_for_its_time(answer: &Value) -> &str {
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("limits.request_time"), "{message}");
    message
}

/// The answer is that of a mutation that began and took too long: a request error would say that it did not begin.
fn began(status: StatusCode, answer: &Value, field: &str) {
    let message = refused_for_its_time(answer);
    let unknown = message.contains("not known whether it was done");
    assert!(unknown, "{message}");
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer.get("data"), Some(&Value::Null), "{answer}");
    assert_eq!(answer["errors"][0]["path"], json!([field]), "{answer}");
}

async fn a_mutation_that_waits_is_not_said_to_have_failed(server: Server) {
    let (world, beside) = limited(server).await;
    let (token, admin) = (world.user("ada", &[]), world.user("eve", &["--admin"]));
    let gateway = world.gateway().await;
    let (ada, eve) = (gateway.client(&token), gateway.client(&admin));
    let grant = "mutation($input: GrantCreditsInput!) { grantCredits(input: $input) { userErrors { message } } }";
    let input = json!({"userId": ada.viewer_id().await, "amount": "1", "reason": "x", "idempotencyKey": "k"});
    let lock = beside.begin().await.unwrap();
    lock.execute_unprepared("UPDATE users SET name = name WHERE name = 'ada'")
        .await
        .unwrap();
    let (users, variables) = ((&beside, "users"), json!({"input": input}));
    let (status, answer) = answered_while_locked(&eve, grant, variables, users).await;
    began(status, &answer, "grantCredits");
    lock.rollback().await.unwrap();
    // Once more with the same key, and it has happened once.
    done(&eve, "grantCredits", input, "").await;
    assert_eq!(ada.balance().await["total"], "1001");
}

/// Whoever comes with a good token while the database hangs is not told to sign in again, and gets in when it is back.
#[tokio::test]
async fn a_token_that_cannot_be_looked_up_is_not_called_bad() {
    let (world, beside) = limited(Server::Postgres).await;
    let (known, new) = (world.user("ada", &[]), world.user("bob", &[]));
    let gateway = world.gateway().await;
    let clients = [known, new].map(|token| gateway.client(&token));
    clients[0].balance().await;
    let lock = beside.begin().await.unwrap();
    let table = "LOCK TABLE api_tokens IN ACCESS EXCLUSIVE MODE";
    lock.execute_unprepared(table).await.unwrap();
    for client in &clients {
        let (status, answer) = client.send("{ balance { total } }", json!({})).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "UNAVAILABLE", "{answer}");
    }
    lock.rollback().await.unwrap();
    for client in &clients {
        assert_eq!(client.balance().await["total"], "1000");
    }
}

#[tokio::test]
async fn on_postgresql_a_query_that_waits_is_answered_and_ends() {
    a_query_that_waits_is_answered_and_ends(Server::Postgres).await;
}

#[tokio::test]
async fn on_mariadb_a_query_that_waits_is_answered_and_ends() {
    a_query_that_waits_is_answered_and_ends(Server::MariaDb).await;
}

#[tokio::test]
async fn on_postgresql_a_mutation_that_waits_is_not_said_to_have_failed() {
    a_mutation_that_waits_is_not_said_to_have_failed(Server::Postgres).await;
}

#[tokio::test]
async fn on_mariadb_a_mutation_that_waits_is_not_said_to_have_failed() {
    a_mutation_that_waits_is_not_said_to_have_failed(Server::MariaDb).await;
}

#[tokio::test]
async fn on_sqlite_a_mutation_that_waits_goes_on_to_its_end() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUEST_TIME", "1s");
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let beside = database(&world).await;
    let mut options = ConnectOptions::new(world.database_url());
    options.max_connections(1);
    let writer = Database::connect(options).await.unwrap();
    writer.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let make =
        "mutation { createApiToken(input: {name: \"script\"}) { secret userErrors { message } } }";
    let (status, answer) = client.send(make, json!({})).await;
    began(status, &answer, "createApiToken");
    writer.execute_unprepared("ROLLBACK").await.unwrap();
    until("the token is made", async || {
        let made = api_token::Column::Name.eq("script");
        let made = api_token::Entity::find().filter(made);
        made.one(&beside).await.unwrap()
    })
    .await;
}
