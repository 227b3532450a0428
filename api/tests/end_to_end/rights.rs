//! When rights end: with the next operation, and not for what was accepted before. And what the database's account needs.

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::support::books::{self, database};
use crate::support::graphql::{PASSWORD, mutate};
use crate::support::images::stuck;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// Nothing tells the gateway that the token is gone: it finds out because it looks.
#[tokio::test]
async fn the_token_of_a_socket_is_looked_up_for_each_operation() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let authorization = format!("Bearer {token}");
    let client = gateway
        .anonymous()
        .with_header("authorization", &authorization);
    let mut socket = Subscription::enter(&client).await.unwrap();
    let query = "{ balance { total } }";
    assert_eq!(socket.operation("1", query).await["type"], "complete");

    let db = database(&world).await;
    let deleted = db.execute_unprepared("DELETE FROM api_tokens").await;
    assert_eq!(deleted.unwrap().rows_affected(), 1);
    db.close().await.unwrap();
    let refused = socket.operation("2", query).await;
    let code = &refused["payload"][0]["extensions"]["code"];
    assert_eq!(code, "UNAUTHENTICATED", "{refused}");
}

#[tokio::test]
async fn what_was_accepted_before_a_ban_ends() {
    let world = World::embedded();
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve().await;
    let [ada, eve] = [&token, &admin].map(|token| gateway.client(token));
    let (registry, job, _progress) = stuck(&world, &ada).await;

    eve.ban(&ada.viewer_id().await).await;
    assert_eq!(ada.status().await, 401);
    let input = json!({"name": "ada", "password": PASSWORD});
    let payload = mutate(&gateway.anonymous(), "signIn", input, "token").await;
    assert_eq!(payload["token"], Value::Null);
    assert_eq!(payload["userErrors"][0]["code"], "INVALID_CREDENTIALS");

    registry.open();
    eve.succeeded(&job).await;
    books::in_order_in_database(&world).await;
}

/// As a MySQL with a binary log has it: the account may do everything but make triggers.
#[tokio::test]
async fn a_database_account_without_triggers_is_warned_of() {
    let mut world = World::embedded();
    let url = Server::MariaDb.database().await;
    let mut account: url::Url = url.parse().unwrap();
    let schema = account.path().trim_start_matches('/').to_owned();
    let name = format!("u_{}", &schema[schema.len() - 12..]);
    let db = Database::connect(&url).await.unwrap();
    for statement in [
        format!("CREATE USER {name}@'%' IDENTIFIED BY 'few'"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON {schema}.* TO {name}@'%'"
        ),
    ] {
        db.execute_unprepared(&statement).await.unwrap();
    }
    db.close().await.unwrap();
    account.set_username(&name).unwrap();
    account.set_password(Some("few")).unwrap();
    world.set("DATABASE_URL", account.as_str());
    let output = world.run(&["migrate"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    for table in ["ledger_entries", "audit_entries"] {
        let parts = ["may make no triggers", "CREATE TRIGGER", table];
        let mut lines = said.lines();
        let warned = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(warned, "{table}: {said}");
    }
}
