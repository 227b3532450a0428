//! The plain way: there and back.

use sea_orm::{Database, EntityTrait as _};
use wharfinger_entity::{Credits, ImageState, JobState, LedgerEntryKind, engine_image};
use wharfinger_migration::{Migrator, MigratorTrait as _};

use crate::support::bare::Bare;
use crate::support::database::TestDatabase;
use crate::support::{Fleet, Shape, credits, on_every_database};

on_every_database!(
    migrations_go_up_and_down,
    migrations_go_up_and_down_with_rows,
    pull_and_remove
);

async fn migrations_go_up_and_down(shape: Shape) {
    let database = TestDatabase::create(shape).await;
    let db = database.connect().await;
    db.migrate().await.unwrap();
    db.migrate().await.unwrap();
    let beside = Database::connect(&database.url).await.unwrap();
    Migrator::down(&beside, None).await.unwrap();
    assert!(engine_image::Entity::find().one(db.read()).await.is_err());
    db.migrate().await.unwrap();
    let none = engine_image::Entity::find().one(db.read()).await;
    assert_eq!(none.unwrap(), None);
}

/// One by one: each is undone, made again and undone for good, with rows in the tables.
async fn migrations_go_up_and_down_with_rows(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (host, user) = (bare.host(|_| ()).await, bare.user().await);
    bare.hold(host, Some(user), "127.0.0.1:1/held").await;
    bare.pull(user, Some(host), "127.0.0.1:1/pulled").await;
    let db = Database::connect(&bare.database.url).await.unwrap();
    for migration in Migrator::migrations().iter().rev() {
        let name = migration.name();
        for (way, done) in [
            ("down", Migrator::down(&db, Some(1)).await),
            ("up again", Migrator::up(&db, Some(1)).await),
            ("down again", Migrator::down(&db, Some(1)).await),
        ] {
            done.unwrap_or_else(|error| panic!("{name} {way}: {error}"));
        }
    }
    let db = &bare.services.db;
    let gone = engine_image::Entity::find().one(db.read()).await;
    assert!(gone.is_err());
    db.migrate().await.unwrap();
    bare.user().await;
}

async fn pull_and_remove(shape: Shape) {
    use LedgerEntryKind::{Charge, Grant, Refund};
    let fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 300_000).await;
    let reference = repository.tag("1");

    let accepted = fleet.pull(user, &reference).await;
    assert_eq!(accepted.state, JobState::Queued);
    assert_eq!(accepted.held, fleet.settings.credits.minimum_to_pull);

    let done = fleet.ends(accepted.id, JobState::Succeeded, 1).await;
    assert_eq!(done.held, Credits::ZERO);
    let image = fleet.image(done.image_id.unwrap()).await;
    assert_eq!(image.reference, reference);
    assert_eq!(image.state, ImageState::Held);
    let on_engine = fleet.engine.inspect(&reference).await.unwrap();
    assert_eq!(on_engine.id, id);
    let size = Credits::from_bytes(on_engine.size).unwrap();
    assert!(size >= Credits::from_micro(300_000), "{size}");
    assert_eq!(image.charge, size);
    let account = fleet.account(user).await;
    let full = credits("100");
    assert_eq!(account.total, full.checked_sub(size).unwrap());
    assert_eq!(account.held, Credits::ZERO);
    let progress = done.progress.unwrap();
    assert_eq!(progress["downloaded"], progress["total"], "{progress}");

    fleet.removed(user, image.id).await;
    assert_eq!(fleet.image(image.id).await.state, ImageState::Released);
    assert_eq!(fleet.account(user).await.total, full);
    assert_eq!(fleet.engine.inspect(&id).await, None);
    let entries = fleet.ledger(user).await;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Grant, Charge, Refund]);
    assert_eq!(fleet.refunds(user).await, ["removed"]);
    fleet.finish().await;
}
