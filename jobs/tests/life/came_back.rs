//! A host that comes back at the instant at which it is given up. With row locks alone it can be told when that is.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ConnectionTrait as _, DbBackend, Statement,
};
use wharfinger_entity::{ImageState, Timestamp, host};

use crate::support::{Fleet, Shape, eventually, on_every_server};

on_every_server!(a_host_that_comes_back_while_it_is_given_up_keeps_everything);

/// How long its silence is watched: long enough to take its row meanwhile.
const WATCHED: Duration = Duration::from_secs(2);

async fn a_host_that_comes_back_while_it_is_given_up_keeps_everything(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| settings.host.offline_after = WATCHED).await;
    let repository = fleet.repository();
    for tag in ["1", "2"] {
        fleet.push(&repository, tag, 100_000).await;
    }
    let user = fleet.user("100").await;
    let held = fleet.pulled(user, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let removal = fleet.try_remove(user, held.id).await.unwrap();
    let pull = fleet.pull(user, &repository.tag("2")).await;
    let now = fleet.services.clock.now();
    let seen = |at: Timestamp| host::ActiveModel {
        id: Set(held.host_id),
        last_seen_at: Set(Some(at)),
        ..Default::default()
    };
    let long_ago = now.before(2 * fleet.settings.host.lost_after);
    let db = &fleet.services.db;
    seen(long_ago).update(db.write()).await.unwrap();

    // It is heard of, and whoever gives it up finds out only once its row can be had.
    let back = db.begin().await.unwrap();
    let again = seen(now.after(Duration::from_hours(1)));
    again.update(&back).await.unwrap();
    eventually("the host is given up", || async {
        waits_for_a_lock(&fleet).await.then_some(())
    })
    .await;
    back.commit().await.unwrap();

    fleet.start_worker().await;
    let pull = fleet.succeeds(pull.id).await;
    fleet.succeeds(removal.id).await;
    let released = fleet.image(held.id).await;
    assert_eq!(released.state, ImageState::Released, "{released:?}");
    let kept = fleet.image(pull.image_id.unwrap()).await;
    let account = fleet.account(user).await;
    assert_eq!(account.total.micro(), 100_000_000 - kept.charge.micro());
    fleet.finish().await;
}

async fn waits_for_a_lock(fleet: &Fleet) -> bool {
    let db = fleet.services.db.read();
    if db.get_database_backend() == DbBackend::MySql {
        // InnoDB shows the same picture for as long as somebody looks more often than every tenth of a second
        // (`CACHE_MIN_IDLE_TIME_NS` in its trx0i_s.cc).
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let question = match db.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
        _ => {
            "SELECT trx_id FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id
             WHERE db = database() AND trx_state = 'LOCK WAIT'"
        }
    };
    let question = Statement::from_string(db.get_database_backend(), question);
    db.query_one_raw(question).await.unwrap().is_some()
}
