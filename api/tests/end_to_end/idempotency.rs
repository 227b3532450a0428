//! How long a mutation happens once: as long as its key is kept, and a grant for ever.

use sea_orm::{ConnectionTrait as _, EntityTrait as _};
use serde_json::json;
use wharfinger_entity::idempotency_key;

use crate::accounts::done;
use crate::support::graphql::{Client, id};
use crate::support::servers::{Server, engine};
use crate::support::world::World;
use crate::support::{books, until};

#[tokio::test]
async fn a_grants_key_is_kept_for_ever_on_sqlite() {
    others_are_forgotten(World::embedded()).await;
}

#[tokio::test]
async fn a_grants_key_is_kept_for_ever_on_postgres() {
    on_a_server(Server::Postgres).await;
}

#[tokio::test]
async fn a_grants_key_is_kept_for_ever_on_mariadb() {
    on_a_server(Server::MariaDb).await;
}

async fn on_a_server(server: Server) {
    let mut world = World::embedded();
    world.set("DATABASE_URL", &server.database().await);
    others_are_forgotten(world).await;
}

async fn others_are_forgotten(world: World) {
    let (token, admin) = (world.user("ada", &[]), world.user("eve", &["--admin"]));
    let mut gateway = world.serve(&engine(1)).await;
    let [ada, eve] = [&token, &admin].map(|token| World::client(&gateway, token));
    let user = ada.ask("{ viewer { id } }", json!({})).await;
    let user = id(&user["viewer"]);
    let pull = json!({"reference": "127.0.0.1:1/x", "idempotencyKey": "k"});
    let pulled = id(&ada.try_pull(pull).await["job"]);
    ada.ended(&pulled).await;
    let first = grant(&eve, &user).await;
    gateway.terminate();
    assert!(gateway.ended().await.success());

    // Two years pass.
    let db = books::database(&world).await;
    let age = "UPDATE idempotency_keys SET created_at = created_at - 63072000000000";
    assert_eq!(db.execute_unprepared(age).await.unwrap().rows_affected(), 2);
    let gateway = world.serve(&engine(1)).await;
    until("the key of the pull is forgotten", async || {
        let keys = idempotency_key::Entity::find().all(&db).await.unwrap();
        keys.iter().all(|key| key.job_id.is_none()).then_some(())
    })
    .await;
    let eve = World::client(&gateway, &admin);
    assert_eq!(grant(&eve, &user).await, first);
    let ada = World::client(&gateway, &token);
    assert_eq!(ada.balance().await["total"], "1005");
}

/// The id of the entry that a grant made, with the same key always.
async fn grant(eve: &Client, user: &str) -> String {
    let input = json!({"userId": user, "amount": "5", "reason": "course", "idempotencyKey": "k"});
    let granted = done(eve, "grantCredits", input, "ledgerEntry { id }").await;
    id(&granted["ledgerEntry"])
}
