//! What every acceptance does inside its transaction: idempotency, limits, and a place in the fair order.

use std::time::Duration;

use sea_orm::sea_query::UnionType;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    PaginatorTrait, QueryFilter, QuerySelect, QueryTrait,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobKind, Timestamp, idempotency_key, job, job_retry};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::Transaction;
use crate::job::order::place;
use crate::ledger::Account;
use crate::services::Services;
use crate::settings::LimitSettings;

/// Longest idempotency key, in characters.
const MAX_KEY_LENGTH: usize = 255;

/// What `limits.pulls_per_hour_per_user` looks back.
const HOUR: Duration = Duration::from_hours(1);

/// A mutation's idempotency key with a fingerprint of its input.
pub(crate) struct Key {
    mutation: &'static str,
    text: String,
    input_hash: String,
}

impl Key {
    /// Reads the key that came with a mutation. `input` is everything else that the caller asked for.
    pub(crate) fn new(
        mutation: &'static str,
        key: Option<&str>,
        input: &[&str],
    ) -> Result<Option<Self>, UserError> {
        let Some(key) = key else { return Ok(None) };
        if key.is_empty() || key.chars().count() > MAX_KEY_LENGTH {
            return Err(UserError::new(
                UserErrorCode::InvalidInput,
                "idempotencyKey",
                format!(
                    "an idempotency key has 1 to {MAX_KEY_LENGTH} characters; leave it out to have none"
                ),
            ));
        }
        let mut hash = Sha256::new();
        for part in input {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Ok(Some(Self {
            mutation,
            text: key.to_owned(),
            input_hash: hex::encode(hash.finalize()),
        }))
    }

    /// The job of the first call with this key, if there was one. The user's row must be locked.
    pub(crate) async fn earlier(
        &self,
        tx: &Transaction,
        user_id: Uuid,
    ) -> Result<Option<job::Model>, ServiceError> {
        let first = self.find(tx, user_id).await?;
        match first.and_then(|first| first.job_id) {
            Some(id) => Ok(job::Entity::find_by_id(id).one(tx).await?),
            None => Ok(None),
        }
    }

    /// What came of the first call with this key where that is not a job.
    pub(crate) async fn earlier_result(
        &self,
        tx: &Transaction,
        user_id: Uuid,
    ) -> Result<Option<Uuid>, ServiceError> {
        let first = self.find(tx, user_id).await?;
        Ok(first.and_then(|first| first.result_id))
    }

    async fn find(
        &self,
        tx: &Transaction,
        user_id: Uuid,
    ) -> Result<Option<idempotency_key::Model>, ServiceError> {
        let Some(first) = idempotency_key::Entity::find()
            .filter(idempotency_key::Column::UserId.eq(user_id))
            .filter(idempotency_key::Column::Mutation.eq(self.mutation))
            .filter(idempotency_key::Column::Key.eq(&self.text))
            .one(tx)
            .await?
        else {
            return Ok(None);
        };
        if first.input_hash != self.input_hash {
            return Err(UserError::new(
                UserErrorCode::IdempotencyConflict,
                "idempotencyKey",
                "this idempotency key was used with another input: use a new key for a new request",
            )
            .into());
        }
        Ok(Some(first))
    }

    /// Remembers the key with the job that came of it.
    pub(crate) async fn remember(
        &self,
        tx: &Transaction,
        user_id: Uuid,
        job_id: Uuid,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        self.store(tx, user_id, Some(job_id), None, now).await
    }

    /// Remembers the key with what came of it where that is not a job.
    pub(crate) async fn remember_result(
        &self,
        tx: &Transaction,
        user_id: Uuid,
        result_id: Uuid,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        self.store(tx, user_id, None, Some(result_id), now).await
    }

    async fn store(
        &self,
        tx: &Transaction,
        user_id: Uuid,
        job_id: Option<Uuid>,
        result_id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        idempotency_key::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(user_id),
            mutation: Set(self.mutation.to_owned()),
            key: Set(self.text.clone()),
            input_hash: Set(self.input_hash.clone()),
            job_id: Set(job_id),
            result_id: Set(result_id),
            created_at: Set(now),
        }
        .insert(tx)
        .await?;
        Ok(())
    }
}

/// Refuses what is over the user's limits. The user's row must be locked, so that two requests cannot both be the last.
pub(crate) async fn within_limits(
    tx: &Transaction,
    user_id: Uuid,
    limits: &LimitSettings,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let too_many = |message: String| UserError::whole(UserErrorCode::TooManyJobs, message);
    if limits.live_jobs_per_user > 0 {
        let live = job::Entity::find()
            .filter(job::Column::UserId.eq(user_id))
            .filter(job::Column::Live.eq(1))
            .count(tx)
            .await?;
        if live >= u64::from(limits.live_jobs_per_user) {
            return Err(too_many(format!(
                "you have {live} jobs that have not ended, and {} is the limit: cancel one, or wait for one to end",
                limits.live_jobs_per_user
            ))
            .into());
        }
    }
    if limits.pulls_per_hour_per_user > 0 {
        let most = limits.pulls_per_hour_per_user as usize;
        let mut recent = accepted_since(tx, user_id, now.before(HOUR)).await?;
        if recent.len() >= most {
            recent.sort_unstable();
            // There may be more than the limit, if it was lowered: there is room again when all but the last few count no
            // more.
            let makes_room = recent[recent.len() - most];
            let wait = makes_room.after(HOUR).since(now).as_secs() + 1;
            return Err(too_many(format!(
                "{most} pulls an hour, retries among them, is the limit: try again in {wait} s"
            ))
            .into());
        }
    }
    Ok(())
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

/// A job that holds nothing yet. The caller adds what is particular to its kind, and [`crate::job::transition::accepted`] its
/// state.
pub(crate) async fn draft(
    tx: &impl ConnectionTrait,
    services: &Services,
    account: &mut Account<'_>,
    kind: JobKind,
    host_id: Uuid,
    reference: String,
) -> Result<job::ActiveModel, DbErr> {
    let user_id = account.user().id;
    let now = account.now();
    let turn = place(tx, user_id, host_id, now).await?;
    Ok(job::ActiveModel {
        id: Set(Uuid::now_v7()),
        kind: Set(kind),
        user_id: Set(user_id),
        host_id: Set(Some(host_id)),
        host_named: Set(true),
        reference: Set(reference),
        image_id: Set(None),
        engine_image_id: Set(None),
        held: Set(Credits::ZERO),
        attempt: Set(0),
        max_attempts: Set(services.settings.retry.attempts()),
        ordinal: Set(account.next_ordinal()),
        turn: Set(turn),
        progress: Set(None),
        traceparent: Set(None),
        created_at: Set(now),
        started_at: Set(None),
        removal_of: Set(None),
        ..Default::default()
    })
}
