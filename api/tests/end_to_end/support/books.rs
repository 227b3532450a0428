//! Whether a user's credits add up: as the API tells it, and in the database.

use sea_orm::{Database, DatabaseConnection, EntityTrait as _};
use serde_json::{Value, json};
use wharfinger_entity::{Credits, JobState, job, user};
use wharfinger_jobs::infra::db::Db;

use super::graphql::Client;
use super::world::World;
use crate::invariants::check_invariants;

/// Micro-credits of a number in an answer.
pub(crate) fn micro(credits: &Value) -> i64 {
    let credits: Credits = credits.as_str().expect("credits").parse().unwrap();
    credits.micro()
}

/// The database of a world.
pub(crate) async fn database(world: &World) -> DatabaseConnection {
    Database::connect(world.database_url()).await.unwrap()
}

/// The states of every job in the database.
pub(crate) async fn job_states(db: &DatabaseConnection) -> Vec<JobState> {
    let jobs = job::Entity::find().all(db).await.unwrap();
    jobs.into_iter().map(|job| job.state).collect()
}

/// Fails unless the books of this user are in order, nothing is held, and they paid `charges` times and got back
/// `refunds` times.
pub(crate) async fn in_order(world: &World, client: &Client, charges: usize, refunds: usize) {
    let query = "{ viewer { balance { available held total } ledger(first: 100) { nodes { kind amount totalAfter } } } }";
    let viewer = client.ask(query, json!({})).await["viewer"].take();
    let balance = &viewer["balance"];
    assert_eq!(balance["held"], "0", "{viewer}");
    assert_eq!(balance["available"], balance["total"], "{viewer}");
    let entries = viewer["ledger"]["nodes"].as_array().unwrap();
    let sum: i64 = entries.iter().map(|entry| micro(&entry["amount"])).sum();
    assert_eq!(sum, micro(&balance["total"]), "{viewer}");
    assert_eq!(entries[0]["totalAfter"], balance["total"], "{viewer}");
    let of_kind = |kind| entries.iter().filter(|entry| entry["kind"] == kind).count();
    let counted = (of_kind("CHARGE"), of_kind("REFUND"));
    assert_eq!(counted, (charges, refunds), "{viewer}");
    in_order_in_database(world).await;
}

/// Fails unless the invariants hold in the database, and nothing is held.
pub(crate) async fn in_order_in_database(world: &World) {
    add_up(world).await;
    let db = database(world).await;
    for user in user::Entity::find().all(&db).await.unwrap() {
        assert_eq!(user.held, Credits::ZERO, "held by {}", user.name);
    }
    db.close().await.unwrap();
}

/// Fails unless the invariants hold in the database.
pub(crate) async fn add_up(world: &World) {
    let db = Db::connect(&world.database_url()).await.unwrap();
    check_invariants(&db).await;
}
