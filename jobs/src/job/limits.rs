//! How much one user may ask for.

use std::time::Duration;

use sea_orm::sea_query::UnionType;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait,
};
use uuid::Uuid;
use wharfinger_entity::{JobKind, Timestamp, job, job_retry};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::Transaction;
use crate::infra::db::sql::{Columns, Sql};
use crate::settings::LimitSettings;

/// Period over which `limits.pulls_per_hour_per_user` counts.
const HOUR: Duration = Duration::from_hours(1);

/// A user's counts that the limits compare; 0 where a limit is off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    live: i64,
    pulls_of_the_hour: i64,
}

impl Usage {
    /// Appends what [`Self::read`] reads to a selection that has columns before.
    pub(crate) fn columns(sql: &mut Sql, limits: &LimitSettings, user_id: Uuid, now: Timestamp) {
        if limits.live_jobs_per_user > 0 {
            sql.push(", (SELECT COUNT(*) FROM jobs WHERE jobs.live = 1 AND jobs.user_id = ");
            sql.bind(user_id).push(")");
        }
        if limits.pulls_per_hour_per_user > 0 {
            let since = now.before(HOUR);
            sql.push(", (SELECT COUNT(*) FROM jobs WHERE jobs.user_id = ");
            sql.bind(user_id);
            sql.push(" AND jobs.id >= ").bind(first_id_at(since));
            sql.push(" AND jobs.kind = ").bind(JobKind::PullImage);
            sql.push(" AND jobs.created_at > ").bind(since);
            sql.push(") + (SELECT COUNT(*) FROM job_retries WHERE job_retries.user_id = ");
            sql.bind(user_id);
            sql.push(" AND job_retries.created_at > ")
                .bind(since)
                .push(")");
        }
    }

    pub(crate) fn read(columns: &mut Columns<'_>, limits: &LimitSettings) -> Result<Self, DbErr> {
        let mut take = |limit: u32| if limit > 0 { columns.take() } else { Ok(0) };
        Ok(Self {
            live: take(limits.live_jobs_per_user)?,
            pulls_of_the_hour: take(limits.pulls_per_hour_per_user)?,
        })
    }

    /// Refuses one more where that is over a limit. The user's row must be locked, so that two requests cannot both be the
    /// last.
    pub(crate) async fn has_room(
        self,
        tx: &Transaction,
        limits: &LimitSettings,
        user_id: Uuid,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let too_many = |message: String| UserError::whole(UserErrorCode::TooManyJobs, message);
        let most = limits.live_jobs_per_user;
        if most > 0 && self.live >= i64::from(most) {
            return Err(too_many(format!(
                "you have {} jobs that have not ended, and {most} is the limit: cancel one, or wait for one to end",
                self.live
            ))
            .into());
        }
        let most = limits.pulls_per_hour_per_user;
        if most > 0 && self.pulls_of_the_hour >= i64::from(most) {
            let wait = until_room(tx, user_id, most as usize, now).await?;
            return Err(too_many(format!(
                "{most} pulls an hour, retries among them, is the limit: try again in {wait} s"
            ))
            .into());
        }
        Ok(())
    }
}

/// Refuses a retry that is over its user's limits. The user's row must be locked.
pub(crate) async fn within_limits(
    tx: &Transaction,
    user_id: Uuid,
    limits: &LimitSettings,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let mut sql = Sql::new(tx.get_database_backend());
    sql.push("SELECT 1");
    Usage::columns(&mut sql, limits, user_id, now);
    let Some(row) = tx.query_one_raw(sql.statement()).await? else {
        return Ok(());
    };
    let mut columns = Columns::of(&row);
    columns.skip();
    let usage = Usage::read(&mut columns, limits)?;
    usage.has_room(tx, limits, user_id, now).await
}

/// Seconds until a user who had their pulls of this hour may ask for one again.
async fn until_room(
    tx: &Transaction,
    user_id: Uuid,
    most: usize,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let mut recent = accepted_since(tx, user_id, now.before(HOUR)).await?;
    recent.sort_unstable();
    // There may be more than the limit, if it was lowered: there is room again when all but the last few count no more.
    let counts_no_more = recent.len().saturating_sub(most);
    let makes_room = recent.get(counts_no_more).copied().unwrap_or(now);
    Ok(makes_room.after(HOUR).since(now).as_secs() + 1)
}

/// When this user's pulls were accepted, and accepted again, since an instant.
async fn accepted_since(
    tx: &Transaction,
    user_id: Uuid,
    since: Timestamp,
) -> Result<Vec<Timestamp>, DbErr> {
    let retried = job_retry::Entity::find()
        .select_only()
        .column(job_retry::Column::CreatedAt)
        .filter(job_retry::Column::UserId.eq(user_id))
        .filter(job_retry::Column::CreatedAt.gt(since));
    let mut accepted = job::Entity::find()
        .select_only()
        .column(job::Column::CreatedAt)
        .filter(job::Column::UserId.eq(user_id))
        .filter(job::Column::Id.gte(first_id_at(since)))
        .filter(job::Column::Kind.eq(JobKind::PullImage))
        .filter(job::Column::CreatedAt.gt(since));
    // One statement for both.
    QuerySelect::query(&mut accepted).union(UnionType::All, retried.into_query());
    accepted.into_tuple().all(tx).await
}

/// Records that a pull was accepted again, so that it counts as a new one would.
pub(crate) async fn count_retry(
    tx: &Transaction,
    user_id: Uuid,
    job_id: Uuid,
    now: Timestamp,
) -> Result<(), DbErr> {
    job_retry::Entity::insert(job_retry::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(user_id),
        job_id: Set(job_id),
        created_at: Set(now),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

/// The smallest UUIDv7 of an instant, so that the index over (user, id) bounds a search by time. A second early, because
/// ids are made just before the rows that they name.
fn first_id_at(instant: Timestamp) -> Uuid {
    let millis = u64::try_from(instant.before(Duration::from_secs(1)).micros() / 1000).unwrap_or(0);
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}
