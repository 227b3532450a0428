//! Forgets what is old, in batches: a statement that deletes a million rows would keep everyone waiting.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, Iterable, PrimaryKeyToColumn, QueryFilter,
    QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{api_token, idempotency_key, job_retry, sign_in_delay, write_probe};

use crate::accounts::{GRANT_KEYS, expired_sign_ins, old_delays};
use crate::fleet_lease::Rounds;
use crate::services::Services;

/// How long an idempotency key is remembered, but those of grants, which are kept for ever: the contract promises a day.
const KEY_TIME: Duration = Duration::from_hours(48);

/// How long a retry is remembered: limits look back an hour.
const RETRY_TIME: Duration = Duration::from_hours(2);

/// How long a process's last write is remembered: much longer than any process is silent.
const PROBE_TIME: Duration = Duration::from_hours(1);

/// Rows of one statement.
const BATCH: u64 = 500;

/// Forgets idempotency keys, retries, wrong passwords, sign-ins and processes that do not count any more.
pub(crate) async fn what_is_old(services: &Services, rounds: &Rounds) {
    let now = services.clock.now();
    let keys = Condition::all()
        .add(idempotency_key::Column::CreatedAt.lt(now.before(KEY_TIME)))
        .add(idempotency_key::Column::Mutation.ne(GRANT_KEYS));
    let retries = job_retry::Column::CreatedAt.lt(now.before(RETRY_TIME));
    let retries = Condition::all().add(retries);
    let probes = write_probe::Column::WrittenAt.lt(now.before(PROBE_TIME));
    let probes = Condition::all().add(probes);
    forget::<idempotency_key::Entity>(services, rounds, "idempotency keys", keys).await;
    forget::<job_retry::Entity>(services, rounds, "retries", retries).await;
    forget::<sign_in_delay::Entity>(services, rounds, "wrong passwords", old_delays(now)).await;
    forget::<api_token::Entity>(services, rounds, "sign-ins", expired_sign_ins(now)).await;
    forget::<write_probe::Entity>(services, rounds, "processes", probes).await;
}

async fn forget<E: EntityTrait>(services: &Services, rounds: &Rounds, what: &str, old: Condition) {
    if let Err(error) = delete::<E>(services, rounds, old).await {
        tracing::warn!(%error, "could not forget old {what}");
    }
}

/// Deletes the rows that are old, a batch at a time.
async fn delete<E: EntityTrait>(
    services: &Services,
    rounds: &Rounds,
    old: Condition,
) -> Result<(), DbErr> {
    let mut key = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column);
    let id = key.next().expect("every table has a key");
    while rounds.goes_on() {
        // Read first: not every database can delete a limited number of rows.
        let ids: Vec<Uuid> = E::find()
            .select_only()
            .column(id)
            .filter(old.clone())
            .limit(BATCH)
            .into_tuple()
            .all(services.db.read())
            .await?;
        let last = (ids.len() as u64) < BATCH;
        if !ids.is_empty() {
            E::delete_many()
                .filter(id.is_in(ids))
                .filter(old.clone())
                .exec(services.db.write())
                .await?;
        }
        if last {
            break;
        }
    }
    Ok(())
}
