//! Settling a pull: image, charge, hold and state in one transaction.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, DatabaseTransaction, IntoActiveModel};
use uuid::Uuid;
use wharfinger_entity::{
    Credits, EngineImageStatus, ImageState, ImageVisibility, JobState, engine_image, image, job,
};

use crate::claim::{self, Lease};
use crate::credits::{Account, Balance, LedgerError, Purpose};
use crate::custody;
use crate::db::in_transaction;
use crate::engine::EngineImage;
use crate::error::ServiceError;
use crate::frame::{ProgressFrame, beyond};
use crate::holdings;
use crate::outcome;
use crate::services::Services;

/// What a worker brings to the settle.
pub(crate) struct Arrived<'a> {
    /// Where.
    pub(crate) host_id: Uuid,
    /// The image as the engine describes it.
    pub(crate) image: &'a EngineImage,
    /// The manifest digest that the reference meant.
    pub(crate) digest: Option<String>,
    /// The version of the image's row before the engine was looked at.
    pub(crate) version: i64,
    /// The progress at the end.
    pub(crate) frame: &'a ProgressFrame,
}

/// What came of it.
pub(crate) enum Settled {
    /// The job SUCCEEDED. With the engine's image that its user let go of, if the tag had moved.
    Done { let_go: Option<Uuid> },
    /// The image's row changed since the engine was looked at: look again.
    LookAgain,
    /// The lease was lost: somebody else settles.
    NotOurs,
    /// The job was to be stopped.
    Cancelled,
    /// The exact size costs more than the user has. Nothing was changed.
    TooExpensive { needed: Credits, available: Credits },
}

/// Settles. Doing it twice does nothing the second time: the job is not RUNNING any more.
pub(crate) async fn settle(
    services: &Services,
    lease: &Lease,
    arrived: &Arrived<'_>,
) -> Result<Settled, ServiceError> {
    let settled = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let row = custody::locked_or_new(&tx, arrived.host_id, arrived.image, now).await?;
        if row.version != arrived.version || row.lock_until.is_some_and(|until| until >= now) {
            return Ok::<_, ServiceError>(Err(Settled::LookAgain));
        }
        let Some(job) = claim::fenced(&tx, lease).await? else {
            return Ok(Err(Settled::NotOurs));
        };
        if job.cancel_requested {
            return Ok(Err(Settled::Cancelled));
        }
        Ok(Ok(settle_in(&tx, services, job, row, arrived).await?))
    });
    match settled {
        Ok(Ok((job, let_go, balance))) => {
            services.announce(&job, Some(balance));
            Ok(Settled::Done { let_go })
        }
        Ok(Err(otherwise)) => Ok(otherwise),
        Err(ServiceError::Ledger(LedgerError::Insufficient { needed, available })) => {
            Ok(Settled::TooExpensive { needed, available })
        }
        Err(error) => Err(error),
    }
}

async fn settle_in(
    tx: &DatabaseTransaction,
    services: &Services,
    job: job::Model,
    row: engine_image::Model,
    arrived: &Arrived<'_>,
) -> Result<(job::Model, Option<Uuid>, Balance), ServiceError> {
    let now = services.clock.now();
    let mut account = Account::lock(tx, job.user_id, now).await?;
    let mut done = job.clone().into_active_model();
    account.set_hold(&mut done, job.held, Credits::ZERO)?;

    let row = describe(tx, row, arrived.image).await?;
    let purpose = |reason: Option<&str>| Purpose {
        job_id: Some(job.id),
        reference: Some(job.reference.clone()),
        reason: reason.map(ToOwned::to_owned),
    };
    let held = holdings::of_reference(tx, job.user_id, row.host_id, &job.reference).await?;
    let mut let_go = None;
    let image = match held {
        Some(held) if held.engine_image_id == row.id => {
            note_digest(tx, held, arrived.digest.clone()).await?
        }
        held => {
            if let Some(old) = held {
                let_go = Some(old.engine_image_id);
                let reason = purpose(Some("the tag moved to another image"));
                holdings::end(
                    tx,
                    Some(&mut account),
                    old,
                    ImageState::Released,
                    reason,
                    now,
                )
                .await?;
            }
            let pays =
                !is_public(tx, row.id).await? && account.payment_for(row.id).await?.is_none();
            let charge = if pays {
                Credits::from_micro(row.size)
            } else {
                Credits::ZERO
            };
            if pays {
                account.charge(row.id, charge, purpose(None)).await?;
            }
            image::ActiveModel {
                id: Set(Uuid::now_v7()),
                user_id: Set(Some(job.user_id)),
                holder: Set(job.user_id),
                host_id: Set(row.host_id),
                engine_image_id: Set(row.id),
                reference: Set(job.reference.clone()),
                digest: Set(arrived.digest.clone()),
                visibility: Set(ImageVisibility::Private),
                state: Set(ImageState::Held),
                charge: Set(charge),
                pulled_at: Set(now),
                released_at: Set(None),
                live: Set(Some(1)),
            }
            .insert(tx)
            .await?
        }
    };

    outcome::finish_attempt(tx, &job, None, now).await?;
    done.state = Set(JobState::Succeeded);
    done.image_id = Set(Some(image.id));
    done.engine_image_id = Set(Some(row.id));
    done.sequence = Set(beyond(arrived.frame.sequence.max(job.sequence)));
    done.progress = Set(serde_json::to_value(arrived.frame).ok());
    done.worker = Set(None);
    done.lease_until = Set(None);
    done.finished_at = Set(Some(now));
    done.live = Set(None);
    let done = done.update(tx).await?;
    Ok((done, let_go, account.save().await?))
}

/// Stores what the engine says of the image, and that it is there.
async fn describe(
    tx: &DatabaseTransaction,
    row: engine_image::Model,
    image: &EngineImage,
) -> Result<engine_image::Model, ServiceError> {
    let size = i64::try_from(image.size).map_err(|_| LedgerError::Overflow)?;
    let (version, absent) = (row.version, row.status == EngineImageStatus::Absent);
    let mut row = row.into_active_model();
    row.status = Set(EngineImageStatus::Present);
    if absent {
        // Nobody looked before it came: nobody can prove that Wharfinger brought it.
        row.brought = Set(false);
    }
    // A removal whose lock ran out must not go on as if nothing had happened since.
    row.version = Set(version + 1);
    row.lock_token = Set(None);
    row.lock_until = Set(None);
    row.size = Set(size);
    row.platform = Set(image.platform.clone());
    row.exposed_ports = Set(serde_json::json!(image.exposed_ports));
    Ok(row.update(tx).await?)
}

/// A new manifest digest with the same image id is only noted.
async fn note_digest(
    tx: &DatabaseTransaction,
    held: image::Model,
    digest: Option<String>,
) -> Result<image::Model, ServiceError> {
    if digest.is_none() || held.digest == digest {
        return Ok(held);
    }
    let mut held = held.into_active_model();
    held.digest = Set(digest);
    Ok(held.update(tx).await?)
}

/// Whether everyone may use the image on this host: then nobody pays for it.
pub(super) async fn is_public(
    tx: &DatabaseTransaction,
    engine_image_id: Uuid,
) -> Result<bool, ServiceError> {
    Ok(holdings::of_engine_image(tx, engine_image_id)
        .await?
        .iter()
        .any(|holding| holding.visibility == ImageVisibility::Public))
}
