//! `setQueuePaused`: stops or resumes starting the jobs of a queue.

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobState, Timestamp, host, job, paused_queue};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_administrator;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::hosts::named;
use crate::infra::db::{for_update, in_transaction};
use crate::services::Services;

/// Pauses or resumes the queue of this name. While it is paused, nothing of it is handed to the queue and no worker
/// claims a job of it: what waits goes on waiting, what runs goes on running, and new jobs are accepted. A claim that is
/// under way at the instant of the pause still counts. Once resumed, jobs start again at once. Returns the queue's host.
pub async fn set_queue_paused(
    services: &Services,
    actor: &Actor,
    queue: &str,
    paused: bool,
) -> Result<host::Model, ServiceError> {
    let host = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        still_administrator(&tx, actor).await?;
        let host = of_queue(&tx, queue).await?;
        // Two who change the same queue wait for each other here.
        let locked = for_update(&tx, host::Entity::find_by_id(host.id));
        locked.one(&tx).await?;
        let changed = if paused {
            pause(&tx, host.id, now).await?
        } else {
            resume(&tx, host.id).await?
        };
        if changed {
            let subject = Subject::one(host.id, host.name.clone());
            let details = json!({ "paused": paused });
            let action = AuditAction::SetQueuePaused;
            actor.record(&tx, action, subject, details, now).await?;
        }
        Ok::<_, ServiceError>(host)
    })?;
    if !paused {
        services.wake.all();
    }
    Ok(host)
}

/// The host whose queue has this name.
pub(crate) async fn of_queue(
    tx: &impl ConnectionTrait,
    queue: &str,
) -> Result<host::Model, ServiceError> {
    named(tx, queue).await?.ok_or_else(|| {
        UserError::new(
            UserErrorCode::NotFound,
            "queue",
            "there is no such queue: `queues` lists them, each by the name of its host",
        )
        .into()
    })
}

async fn pause(tx: &impl ConnectionTrait, host_id: Uuid, now: Timestamp) -> Result<bool, DbErr> {
    if paused_queue::Entity::find_by_id(host_id)
        .one(tx)
        .await?
        .is_some()
    {
        return Ok(false);
    }
    let row = paused_queue::ActiveModel {
        id: Set(host_id),
        paused_at: Set(now),
    };
    paused_queue::Entity::insert(row)
        .exec_without_returning(tx)
        .await?;
    Ok(true)
}

/// Ends the pause, and marks the host's waiting jobs to be handed out again, because the workers turned them away during the
/// pause. Returns whether the queue was paused.
async fn resume(tx: &impl ConnectionTrait, host_id: Uuid) -> Result<bool, DbErr> {
    let resumed = paused_queue::Entity::delete_by_id(host_id).exec(tx).await?;
    if resumed.rows_affected == 0 {
        return Ok(false);
    }
    job::Entity::update_many()
        .set(job::ActiveModel {
            dispatched_at: Set(None),
            ..Default::default()
        })
        .filter(job::Column::HostId.eq(host_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
        .filter(job::Column::DispatchedAt.is_not_null())
        .exec(tx)
        .await?;
    Ok(true)
}
