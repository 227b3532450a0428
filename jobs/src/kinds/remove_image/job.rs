//! A removal as a kind of job.

use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use tracing::Span;
use uuid::Uuid;
use wharfinger_entity::{ImageVisibility, Role, job, user};

use super::holding_of;
use crate::attempt::{AttemptEnd, Job, JobRun, Retry};
use crate::engine_images::error::RunError;
use crate::error::{ServiceError, UserError};
use crate::infra::db::Transaction;
use crate::infra::trace::attempt_span;
use crate::job::transition::Outcome;

/// `removeImage`.
pub(crate) struct RemoveImageJob;

#[async_trait]
impl Job for RemoveImageJob {
    fn span(&self) -> Span {
        attempt_span!("job.remove_image")
    }

    async fn run(&self, run: &Arc<JobRun>) -> Result<AttemptEnd, RunError> {
        super::run::run(run).await
    }

    /// Its image has to be held still, and to have no other removal.
    async fn accept_again(&self, retry: Retry<'_, '_>) -> Result<(), ServiceError> {
        let image_id = removable(retry.tx, retry.account.user(), retry.job).await?;
        retry.again.removal_of = Set(Some(image_id));
        Ok(())
    }

    /// The image went with the host: there is nothing left to remove.
    fn when_host_is_lost(&self, _reason: String) -> Outcome {
        Outcome::NothingToDo
    }

    fn refuses_to_stop(&self, job: &job::Model) -> Option<&'static str> {
        job.touched_engine
            .then_some("the removal has begun on the engine and can only be finished")
    }
}

/// The holding that a removal is about, if it can be removed still.
async fn removable(
    tx: &Transaction,
    user: &user::Model,
    job: &job::Model,
) -> Result<Uuid, ServiceError> {
    let image = holding_of(job).one(tx).await?;
    let image = image.ok_or_else(|| UserError::not_retryable("the image is not held any more"))?;
    if image.visibility == ImageVisibility::Public && user.role != Role::Admin {
        let message = "the image is public, and only an administrator can remove it";
        return Err(UserError::not_retryable(message).into());
    }
    let another = job::Entity::find()
        .filter(job::Column::RemovalOf.eq(image.id))
        .one(tx)
        .await?;
    if another.is_some() {
        let message = "another removal of this image is under way";
        return Err(UserError::not_retryable(message).into());
    }
    Ok(image.id)
}
