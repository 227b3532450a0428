//! Settling a pull: image, charge, hold and state in one transaction.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{
    Credits, EngineImageStatus, ImageState, ImageVisibility, Role, engine_image, image, job,
};

use super::locked;
use crate::engine::EngineImage;
use crate::engine_images::{lock, tag_rollback};
use crate::error::ServiceError;
use crate::holdings;
use crate::holdings::found::Found;
use crate::holdings::publication::{Publication, Published, publish};
use crate::infra::db::{Transaction, in_transaction, insert};
use crate::job::lease::{self, Lease};
use crate::job::transition;
use crate::ledger::{Account, Balance, LedgerError, Purpose};
use crate::live::progress_event::ProgressEvent;
use crate::services::Services;

/// The image that a worker pulled, and the progress of its attempt.
pub(crate) struct Arrived<'a> {
    /// The worker's host.
    pub(crate) host_id: Uuid,
    /// The image as the engine describes it.
    pub(crate) image: &'a EngineImage,
    /// The manifest digest that the reference named.
    pub(crate) digest: Option<String>,
    /// The version of the image's row before the engine was looked at.
    pub(crate) version: i64,
    /// The progress at the end.
    pub(crate) frame: &'a ProgressEvent,
}

/// The result of [`settle`].
pub(crate) enum Settled {
    /// The job SUCCEEDED. `to_look_at` are the ids of the engine's images to reconcile: they lost their last holding because
    /// the tag moved, or carry the tag of another pull.
    Done { to_look_at: Vec<Uuid> },
    /// The image's row changed since the engine was looked at: look again.
    LookAgain,
    /// The lease was lost: another worker settles the job.
    NotOurs,
    /// Cancellation of the job was requested. Nothing was changed.
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
        let (host, image, version) = (arrived.host_id, arrived.image, arrived.version);
        let locked = locked::lock(&tx, services, (host, &*image.id), version, lease).await?;
        let (row, fenced) = if let Some(locked) = locked {
            locked
        } else {
            let row = lock::locked_or_new(&tx, services, host, image, version).await?;
            let Some(row) = row else {
                return Ok::<_, ServiceError>(Err(Settled::LookAgain));
            };
            (row, lease::fenced_with_account(&tx, lease, now).await?)
        };
        let Some((job, account)) = fenced else {
            return Ok(Err(Settled::NotOurs));
        };
        if job.cancel_requested {
            return Ok(Err(Settled::Cancelled));
        }
        let settling = settle_in(&tx, services, job, account, row, arrived);
        Ok(Ok(settling.await?))
    });
    match settled {
        Ok(Ok(done)) => {
            services.announce(&done.job, Some(done.balance));
            if let Some(published) = &done.published {
                published.announce(services);
            }
            Ok(Settled::Done {
                to_look_at: done.to_look_at,
            })
        }
        Ok(Err(otherwise)) => Ok(otherwise),
        Err(ServiceError::Ledger(LedgerError::Insufficient { needed, available })) => {
            Ok(Settled::TooExpensive { needed, available })
        }
        Err(error) => Err(error),
    }
}

/// The changes of a settlement, to announce after the commit.
struct Done {
    job: job::Model,
    balance: Balance,
    to_look_at: Vec<Uuid>,
    published: Option<Published>,
}

async fn settle_in<'t>(
    tx: &'t Transaction,
    services: &Services,
    mut job: job::Model,
    mut account: Account<'t>,
    row: engine_image::Model,
    arrived: &Arrived<'_>,
) -> Result<Done, ServiceError> {
    let now = services.clock.now();
    let row = describe(tx, row, arrived.image).await?;
    let found = Found::read(tx, &row, job.user_id, &job.reference).await?;
    let mut to_look_at = if found.has_orphaned_tags {
        tag_rollback::settled(tx, &row, &job.reference).await?
    } else {
        Vec::new()
    };
    let (public, published) = match found.public_of_reference() {
        Some(old) if account.user().role == Role::Admin => {
            refresh(tx, services, &row, &job, old.clone(), arrived).await?
        }
        _ => (found.public_of_image().cloned(), None),
    };
    if let Some(published) = &published {
        to_look_at.extend(published.replaced);
        // Publishing moves credits of every holder, and this user may be one.
        account = Account::lock(tx, job.user_id, now).await?;
    }
    account.release(&mut job)?;
    let image = match (public, found.own().cloned()) {
        (None, Some(held)) if held.engine_image_id == row.id => {
            note_digest(tx, held, arrived.digest.clone()).await?
        }
        (public, held) => {
            if let Some(old) = held {
                to_look_at.push(old.engine_image_id);
                holdings::let_go_of_moved(tx, &mut account, old, &job).await?;
            }
            if let Some(public) = public {
                // Everyone may use it: there is nothing to hold, and nothing to pay.
                public
            } else {
                let digest = arrived.digest.clone();
                hold(tx, &mut account, &row, &job, found.is_paid(), digest).await?
            }
        }
    };

    job.sequence = job.sequence.max(arrived.frame.sequence);
    let mut done = job.clone().into_active_model();
    done.image_id = Set(Some(image.id));
    done.engine_image_id = Set(Some(row.id));
    done.progress = Set(serde_json::to_value(arrived.frame).ok());
    Ok(Done {
        job: transition::succeeded(tx, &job, done, now).await?,
        balance: account.save().await?,
        to_look_at,
        published,
    })
}

/// An administrator pulled a public reference again: what it means now is public from now on, by that reference.
async fn refresh(
    tx: &Transaction,
    services: &Services,
    row: &engine_image::Model,
    job: &job::Model,
    old: image::Model,
    arrived: &Arrived<'_>,
) -> Result<(Option<image::Model>, Option<Published>), ServiceError> {
    let digest = arrived.digest.clone();
    if old.engine_image_id == row.id {
        return Ok((Some(note_digest(tx, old, digest).await?), None));
    }
    let publication = Publication {
        reference: job.reference.clone(),
        digest,
        pulled_at: services.clock.now(),
    };
    let published = publish(tx, services, row, publication).await?;
    Ok((Some(published.image.clone()), Some(published)))
}

/// Makes the holding, and charges for the image unless its holder pays for it already, which `is_paid` says.
async fn hold(
    tx: &Transaction,
    account: &mut Account<'_>,
    row: &engine_image::Model,
    job: &job::Model,
    is_paid: bool,
    digest: Option<String>,
) -> Result<image::Model, ServiceError> {
    let mut charge = Credits::ZERO;
    if !is_paid {
        charge = Credits::from_micro(row.size);
        let purpose = Purpose {
            job_id: Some(job.id),
            reference: Some(job.reference.clone()),
            reason: None,
        };
        account.charge(row.id, charge, purpose).await?;
    }
    let holding = image::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(Some(job.user_id)),
        holder: Set(job.user_id),
        host_id: Set(row.host_id),
        engine_image_id: Set(row.id),
        reference: Set(job.reference.clone()),
        digest: Set(digest),
        visibility: Set(ImageVisibility::Private),
        state: Set(ImageState::Held),
        charge: Set(charge),
        size: Set(row.size),
        pulled_at: Set(account.now()),
        released_at: Set(None),
        live: Set(Some(1)),
    };
    Ok(insert(tx, holding).await?)
}

/// Stores what the engine says of the image, and that it is there, where that is not known already.
async fn describe(
    tx: &Transaction,
    row: engine_image::Model,
    image: &EngineImage,
) -> Result<engine_image::Model, ServiceError> {
    let size = i64::try_from(image.size).map_err(|_| LedgerError::Overflow)?;
    // The size is 0 until the engine reports it, and the image has no holders until then.
    if row.size != 0 && row.size != size {
        resize(tx, row.id, size).await?;
    }
    // It was not looked for before it came, so nothing proves that Wharfinger brought it.
    let brought = row.brought && row.status != EngineImageStatus::Absent;
    let mut described = row.clone().into_active_model();
    described
        .status
        .set_if_not_equals(EngineImageStatus::Present);
    described.brought.set_if_not_equals(brought);
    described.lock_token.set_if_not_equals(None);
    described.lock_holder.set_if_not_equals(None);
    described.lock_until.set_if_not_equals(None);
    described.size.set_if_not_equals(size);
    let platform = image.platform.to_string();
    described.platform.set_if_not_equals(platform);
    let ports = image.exposed_ports.clone();
    described.exposed_ports.set_if_not_equals(ports);
    if !described.is_changed() {
        return Ok(row);
    }
    // A removal whose lock ran out must not go on as if nothing had happened since.
    described.version = Set(row.version + 1);
    Ok(described.update(tx).await?)
}

/// Holdings keep the size of their image, for lists by size.
async fn resize(tx: &Transaction, engine_image_id: Uuid, size: i64) -> Result<(), ServiceError> {
    image::Entity::update_many()
        .set(image::ActiveModel {
            size: Set(size),
            ..Default::default()
        })
        .filter(image::Column::EngineImageId.eq(engine_image_id))
        .exec(tx)
        .await?;
    Ok(())
}

/// A new manifest digest with the same image id is only noted.
async fn note_digest(
    tx: &Transaction,
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
