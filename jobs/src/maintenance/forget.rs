//! Forgets what is old, in batches: a statement that deletes a million rows would keep everyone waiting.

use std::time::Duration;

use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QuerySelect};
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
    let probes = write_probe::Column::WrittenAt.lt(now.before(PROBE_TIME));
    let forgotten = [
        (
            "idempotency keys",
            forget::<idempotency_key::Entity>(services, rounds, idempotency_key::Column::Id, keys)
                .await,
        ),
        (
            "retries",
            forget::<job_retry::Entity>(services, rounds, job_retry::Column::Id, all(retries))
                .await,
        ),
        (
            "wrong passwords",
            forget::<sign_in_delay::Entity>(
                services,
                rounds,
                sign_in_delay::Column::Id,
                old_delays(now),
            )
            .await,
        ),
        (
            "sign-ins",
            forget::<api_token::Entity>(
                services,
                rounds,
                api_token::Column::Id,
                expired_sign_ins(now),
            )
            .await,
        ),
        (
            "processes",
            forget::<write_probe::Entity>(services, rounds, write_probe::Column::Id, all(probes))
                .await,
        ),
    ];
    for (what, forgotten) in forgotten {
        if let Err(error) = forgotten {
            tracing::warn!(%error, "could not forget old {what}");
        }
    }
}

fn all(condition: impl Into<Condition>) -> Condition {
    Condition::all().add(condition)
}

/// Deletes the rows that are old, a batch at a time.
async fn forget<E: EntityTrait>(
    services: &Services,
    rounds: &Rounds,
    id: E::Column,
    old: Condition,
) -> Result<(), DbErr> {
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
        if ids.is_empty() {
            break;
        }
        let last = (ids.len() as u64) < BATCH;
        E::delete_many()
            .filter(id.is_in(ids))
            .filter(old.clone())
            .exec(services.db.write())
            .await?;
        if last {
            break;
        }
    }
    Ok(())
}
