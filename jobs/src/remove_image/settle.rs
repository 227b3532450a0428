//! Settling a removal: holding, refund and state in one transaction.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use wharfinger_entity::{ImageState, image};

use crate::engine_images::lock::{self, ImageLock, Presence};
use crate::error::ServiceError;
use crate::holdings;
use crate::infra::db::{for_update, in_transaction};
use crate::job::lease::{self, Lease};
use crate::job::transition;
use crate::ledger::{Account, Purpose};
use crate::services::Services;

/// Marks that the removal begins on the engine: from here on it can only be finished. False when the job was to be
/// stopped before that; none when the lease was lost.
pub(crate) async fn begin(
    services: &Services,
    lease: &Lease,
) -> Result<Option<bool>, ServiceError> {
    in_transaction!(services.db, |tx| {
        let Some(job) = lease::fenced(&tx, lease).await? else {
            return Ok::<_, ServiceError>(None);
        };
        if job.cancel_requested {
            return Ok(Some(false));
        }
        let mut job = job.into_active_model();
        job.touched_engine = Set(true);
        job.update(&tx).await?;
        Ok(Some(true))
    })
}

/// The result of [`settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The job SUCCEEDED.
    Done,
    /// The lease was lost: another worker goes on.
    NotOurs,
    /// The image's lock was lost: the attempt has to begin again.
    LockLost,
}

/// Ends the holding, gives back what it cost, and the job SUCCEEDED. `image_lock` is given back with it.
pub(crate) async fn settle(
    services: &Services,
    lease: &Lease,
    image_lock: &ImageLock,
    presence: Presence,
) -> Result<Settled, ServiceError> {
    let settled = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let Some(row) = lock::fenced(&tx, services, image_lock).await? else {
            return Ok::<_, ServiceError>(Err(Settled::LockLost));
        };
        let Some(job) = lease::fenced(&tx, lease).await? else {
            return Ok(Err(Settled::NotOurs));
        };
        let holding = match job.image_id {
            Some(id) => {
                for_update(&tx, image::Entity::find_by_id(id))
                    .one(&tx)
                    .await?
            }
            None => None,
        };
        let mut balance = None;
        if let Some(holding) = holding.filter(|holding| holding.state == ImageState::Held) {
            let purpose = Purpose {
                job_id: Some(job.id),
                reference: Some(holding.reference.clone()),
                reason: Some("removed".into()),
            };
            if let Some(holder) = holding.user_id {
                let mut account = Account::lock(&tx, holder, now).await?;
                holdings::end(
                    &tx,
                    Some(&mut account),
                    holding,
                    ImageState::Released,
                    purpose,
                    now,
                )
                .await?;
                balance = Some(account.save().await?);
            } else {
                holdings::end(&tx, None, holding, ImageState::Released, purpose, now).await?;
            }
        }
        lock::release(&tx, row, presence).await?;
        let fields = job.clone().into_active_model();
        let done = transition::succeeded(&tx, &job, fields, now).await?;
        Ok(Ok((done, balance)))
    })?;
    let (job, balance) = match settled {
        Ok(done) => done,
        Err(otherwise) => return Ok(otherwise),
    };
    services.announce(&job, balance);
    Ok(Settled::Done)
}
