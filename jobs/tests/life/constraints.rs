//! What no database takes, whatever a mistake in the code would write.

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ConnectionTrait as _, DbBackend, DbErr,
    EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _, SqlErr,
};
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, Credits, LedgerEntryKind, audit_entry, engine_image, idempotency_key, image, job,
    ledger_entry, payment, user,
};
use wharfinger_jobs::infra::db::Db;

use crate::support::bare::Bare;
use crate::support::database::TestDatabase;
use crate::support::{Shape, on_every_database};

on_every_database!(
    one_live_holding_of_a_reference,
    one_charge_and_one_refund_of_a_payment,
    a_key_is_used_once,
    nothing_is_negative,
    what_is_written_stays,
);

fn assert_taken<T: std::fmt::Debug>(answer: Result<T, DbErr>) {
    let error = answer.unwrap_err();
    assert!(
        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))),
        "{error:?}"
    );
}

async fn one_live_holding_of_a_reference(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (ada, bob) = (bare.user().await, bare.user().await);
    let host = bare.host(|_| ()).await;
    let id = bare.hold(host, Some(ada), "127.0.0.1:1/a:1").await;
    let db = bare.services.db.write();
    let first = bare.image(id).await;
    let second = |change: fn(&mut image::ActiveModel, Uuid)| {
        let mut second = first.clone().into_active_model().reset_all();
        second.id = Set(Uuid::now_v7());
        change(&mut second, bob);
        second.insert(db)
    };
    assert_taken(second(|_, _| ()).await);
    // One that was let go of, or is somebody else's, is another matter.
    second(|second, _| second.live = Set(None)).await.unwrap();
    let of_bob = second(|second, bob| {
        second.user_id = Set(Some(bob));
        second.holder = Set(bob);
    });
    of_bob.await.unwrap();
}

async fn one_charge_and_one_refund_of_a_payment(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (host, user) = (bare.host(|_| ()).await, bare.user().await);
    bare.hold(host, Some(user), "127.0.0.1:1/a:1").await;
    let db = bare.services.db.write();
    let on_engine = engine_image::Entity::find().one(db).await.unwrap().unwrap();
    let paid = |live| {
        let payment = payment::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(user),
            engine_image_id: Set(on_engine.id),
            amount: Set(Credits::from_micro(1)),
            live: Set(live),
        };
        payment.insert(db)
    };
    let payment = paid(Some(1)).await.unwrap().id;
    assert_taken(paid(Some(1)).await);
    paid(None).await.unwrap();

    let now = bare.services.clock.now();
    let entry = |number, kind| {
        let entry = ledger_entry::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(user),
            number: Set(number),
            kind: Set(kind),
            amount: Set(Credits::from_micro(1)),
            total_after: Set(Credits::from_micro(1)),
            job_id: Set(None),
            payment_id: Set(Some(payment)),
            reference: Set(None),
            reason: Set(None),
            created_at: Set(now),
        };
        entry.insert(db)
    };
    for (number, kind) in [
        (101, LedgerEntryKind::Charge),
        (103, LedgerEntryKind::Refund),
    ] {
        entry(number, kind).await.unwrap();
        assert_taken(entry(number + 1, kind).await);
    }
}

async fn a_key_is_used_once(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (ada, bob) = (bare.user().await, bare.user().await);
    let now = bare.services.clock.now();
    let db = bare.services.db.write();
    let uses = |user, mutation: &str| {
        let key = idempotency_key::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(user),
            mutation: Set(mutation.to_owned()),
            key: Set("once".to_owned()),
            input_hash: Set("hash".to_owned()),
            job_id: Set(None),
            result_id: Set(None),
            created_at: Set(now),
        };
        key.insert(db)
    };
    uses(ada, "pull_image").await.unwrap();
    assert_taken(uses(ada, "pull_image").await);
    uses(ada, "remove_image").await.unwrap();
    uses(bob, "pull_image").await.unwrap();
}

async fn nothing_is_negative(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (host, user) = (bare.host(|_| ()).await, bare.user().await);
    let holding = bare.hold(host, Some(user), "127.0.0.1:1/a:1").await;
    let job = bare.pull(user, Some(host), "127.0.0.1:1/b:1").await;
    let db = bare.services.db.write();
    let minus = Credits::from_micro(-1);

    let hold = |held| job::ActiveModel {
        id: Set(job.id),
        held: Set(held),
        ..Default::default()
    };
    hold(minus).update(db).await.unwrap_err();
    hold(job.held).update(db).await.unwrap();
    let account = |total, held| user::ActiveModel {
        id: Set(user),
        total: Set(total),
        held: Set(held),
        ..Default::default()
    };
    let (one, two) = (Credits::from_micro(1), Credits::from_micro(2));
    account(one, minus).update(db).await.unwrap_err();
    // What is held is there.
    account(one, two).update(db).await.unwrap_err();
    account(two, one).update(db).await.unwrap();
    let charge = |charge| image::ActiveModel {
        id: Set(holding),
        charge: Set(charge),
        ..Default::default()
    };
    charge(minus).update(db).await.unwrap_err();
    charge(one).update(db).await.unwrap();
}

async fn what_is_written_stays(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let db = bare.services.db.write();
    let entry = audit_entry::ActiveModel {
        id: Set(Uuid::now_v7()),
        actor_id: Set(None),
        actor: Set("command line".to_owned()),
        action: Set(AuditAction::CreateUser),
        subject_id: Set(Some(user)),
        subject: Set("ada".to_owned()),
        details: Set(serde_json::json!({})),
        created_at: Set(bare.services.clock.now()),
    };
    entry.insert(db).await.unwrap();
    let granted = ledger_entry::Entity::find().count(db).await.unwrap();
    assert!(granted > 0, "a user begins with credits");
    for (table, column) in [
        ("ledger_entries", "amount"),
        ("audit_entries", "created_at"),
    ] {
        for change in [
            format!("UPDATE {table} SET {column} = {column} + 1"),
            format!("DELETE FROM {table}"),
        ] {
            let error = db.execute_unprepared(&change).await.unwrap_err();
            let refused = format!("{table} is append-only");
            assert!(error.to_string().contains(&refused), "{change}: {error}");
        }
        if db.get_database_backend() == DbBackend::Postgres {
            let truncate = format!("TRUNCATE {table}");
            let error = db.execute_unprepared(&truncate).await.unwrap_err();
            assert!(error.to_string().contains("is append-only"), "{error}");
        }
    }
}

/// As a MySQL with a binary log does. Whoever may make no triggers has everything else.
#[tokio::test]
async fn a_database_that_lets_us_make_no_triggers_is_migrated() {
    let database = TestDatabase::create(Shape::MariaDb).await;
    let mut url: url::Url = database.url.parse().unwrap();
    let name = format!("few_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let server = sea_orm::Database::connect(&database.url).await.unwrap();
    let schema = url.path().trim_start_matches('/');
    for statement in [
        format!("CREATE USER {name}@'%' IDENTIFIED BY 'few'"),
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON {schema}.* TO {name}@'%'"
        ),
    ] {
        server.execute_unprepared(&statement).await.unwrap();
    }
    server.close().await.unwrap();
    url.set_username(&name).unwrap();
    url.set_password(Some("few")).unwrap();
    let db = Db::connect(url.as_str()).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(user::Entity::find().count(db.read()).await.unwrap(), 0);
}
