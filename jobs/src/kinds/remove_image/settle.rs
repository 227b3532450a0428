//! Settling a removal: holding, refund and state in one transaction.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use wharfinger_entity::ImageState;

use super::holding_of;
use crate::attempt::AttemptEnd;
use crate::engine_images::lock::{self, ImageLock, LockLost, Presence};
use crate::error::ServiceError;
use crate::holdings;
use crate::infra::db::{for_update, in_transaction};
use crate::job::lease::{self, Lease};
use crate::job::transition;
use crate::ledger::{Account, Purpose};
use crate::services::Services;

/// Marks that the removal begins on the engine: from here on it can only be finished. Returns how the attempt ended if it
/// does not begin.
pub(super) async fn begin(
    services: &Services,
    lease: &Lease,
) -> Result<Option<AttemptEnd>, ServiceError> {
    in_transaction!(services.db, |tx| {
        let Some(job) = lease::fenced(&tx, lease).await? else {
            return Ok::<_, ServiceError>(Some(AttemptEnd::NotOurs));
        };
        if job.cancel_requested {
            return Ok(Some(AttemptEnd::Cancelled));
        }
        let mut job = job.into_active_model();
        job.touched_engine = Set(true);
        job.update(&tx).await?;
        Ok(None)
    })
}

/// Ends the holding, gives back what it cost, and the job SUCCEEDED. `image_lock` is given back with it. Fails where that lock
/// was lost: the attempt has to begin again.
pub(super) async fn settle(
    services: &Services,
    lease: &Lease,
    image_lock: &ImageLock,
    presence: Presence,
) -> Result<Result<AttemptEnd, LockLost>, ServiceError> {
    let settled = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let Some(row) = lock::fenced(&tx, services, image_lock).await? else {
            return Ok::<_, ServiceError>(Err(LockLost));
        };
        let Some(job) = lease::fenced(&tx, lease).await? else {
            return Ok(Ok(None));
        };
        let mut balance = None;
        if let Some(holding) = for_update(&tx, holding_of(&job)).one(&tx).await? {
            let purpose = Purpose {
                job_id: Some(job.id),
                reference: Some(holding.reference.clone()),
                reason: Some("removed".into()),
            };
            let mut account = match holding.user_id {
                Some(holder) => Some(Account::lock(&tx, holder, now).await?),
                None => None,
            };
            let released = ImageState::Released;
            holdings::end(&tx, account.as_mut(), holding, released, purpose, now).await?;
            if let Some(account) = account {
                balance = Some(account.save().await?);
            }
        }
        lock::release(&tx, row, presence).await?;
        let fields = job.clone().into_active_model();
        let done = transition::succeeded(&tx, &job, fields, now).await?;
        Ok(Ok(Some((done, balance))))
    })?;
    Ok(settled.map(|done| match done {
        Some((job, balance)) => {
            services.announce(&job, balance);
            AttemptEnd::Settled
        }
        None => AttemptEnd::NotOurs,
    }))
}
