//! Idempotency keys: a mutation with a key happens once.

use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, idempotency_key, job};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::Transaction;
use crate::infra::db::sql::Sql;

/// Longest idempotency key, in characters.
const MAX_KEY_LENGTH: usize = 255;

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

    /// Appends how many calls there were with this key, for a selection by which an acceptance finds out whether it is the
    /// first.
    pub(crate) fn count(&self, sql: &mut Sql, user_id: Uuid) {
        sql.push("(SELECT COUNT(*) FROM idempotency_keys WHERE idempotency_keys.user_id = ");
        sql.bind(user_id);
        sql.push(" AND idempotency_keys.mutation = ")
            .bind(self.mutation);
        // MySQL takes the reserved word for a name after a period.
        sql.push(" AND idempotency_keys.key = ")
            .bind(self.text.as_str())
            .push(")");
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

    /// Id of the row that the first call with this key made, for mutations without a job. None if the key is new.
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
        let key = idempotency_key::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(user_id),
            mutation: Set(self.mutation.to_owned()),
            key: Set(self.text.clone()),
            input_hash: Set(self.input_hash.clone()),
            job_id: Set(job_id),
            result_id: Set(result_id),
            created_at: Set(now),
        };
        idempotency_key::Entity::insert(key)
            .exec_without_returning(tx)
            .await?;
        Ok(())
    }
}
