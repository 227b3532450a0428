//! When rights end: with the next operation, and not for what was accepted before. And what the database's account needs.

use futures::{SinkExt as _, StreamExt as _};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::graphql::{Client, done, id, mutate};
use crate::support::images::stuck;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{books, soon};

const PASSWORD: &str = "correct horse battery staple";

/// How each operation on a socket ends: its id, and the message's type or its error's code.
async fn operate(socket: &mut Subscription, number: u32) -> String {
    let subscribe = json!({"id": number.to_string(), "type": "subscribe", "payload": {"query": "{ balance { total } }"}});
    let socket = socket.raw();
    let message = Message::text(subscribe.to_string());
    socket.send(message).await.unwrap();
    loop {
        let message = soon("an answer on the socket", socket.next()).await;
        let Message::Text(text) = message.unwrap().unwrap() else {
            continue;
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let kind = message["type"].as_str().unwrap();
        match kind {
            "complete" => return kind.to_owned(),
            "error" => {
                let code = &message["payload"][0]["extensions"]["code"];
                return code.as_str().unwrap().to_owned();
            }
            _ => {}
        }
    }
}

/// Nothing tells the gateway that the token is gone: it finds out because it looks.
#[tokio::test]
async fn the_token_of_a_socket_is_looked_up_for_each_operation() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let authorization = format!("Bearer {token}");
    let client = Client::new(&gateway.address, None).with_header("authorization", &authorization);
    let mut socket = Subscription::silent(&client).await;
    assert!(socket.acknowledged().await);
    assert_eq!(operate(&mut socket, 1).await, "complete");

    let db = Database::connect(world.database_url()).await.unwrap();
    let deleted = db.execute_unprepared("DELETE FROM api_tokens").await;
    assert_eq!(deleted.unwrap().rows_affected(), 1);
    db.close().await.unwrap();
    assert_eq!(operate(&mut socket, 2).await, "UNAUTHENTICATED");
}

#[tokio::test]
async fn what_was_accepted_before_a_ban_ends() {
    let world = World::embedded();
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve(&engine(1)).await;
    let [ada, eve] = [&token, &admin].map(|token| World::client(&gateway, token));
    let user = ada.ask("{ viewer { id } }", json!({})).await;
    let (registry, job, _progress) = stuck(&world, &ada).await;

    let ban = json!({"userId": id(&user["viewer"]), "status": "BANNED"});
    done(&eve, "updateUser", ban, "").await;
    let (status, _) = ada.send("{ balance { total } }", json!({})).await;
    assert_eq!(status, 401);
    let nobody = Client::new(&gateway.address, None);
    let input = json!({"name": "ada", "password": PASSWORD});
    let payload = mutate(&nobody, "signIn", input, "token").await;
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
        let warned = said.lines().any(|line| {
            line.contains("may make no triggers")
                && line.contains("CREATE TRIGGER")
                && line.contains(table)
        });
        assert!(warned, "{table}: {said}");
    }
}
