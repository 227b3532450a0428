//! Accepting a removal.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, ImageState, ImageVisibility, JobKind, Role, image, job, user,
};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_active;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::job::draft;
use crate::job::idempotency::Key;
use crate::job::order::place;
use crate::job::transition;
use crate::ledger::Account;
use crate::services::Services;

/// A user lets go of an image.
#[derive(Clone, Debug)]
pub struct RemoveImage {
    /// Who asks.
    pub user_id: Uuid,
    /// The holding; none when the id given was not even one of an image.
    pub image_id: Option<Uuid>,
    /// The caller's key, if any.
    pub idempotency_key: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// Records the removal. A second removal of the same image returns the live job.
pub async fn accept(
    services: &Services,
    request: &RemoveImage,
) -> Result<job::Model, ServiceError> {
    let asked = request
        .image_id
        .map(|id| id.to_string())
        .unwrap_or_default();
    let key = Key::new("removeImage", request.idempotency_key.as_deref(), &[&asked])?;
    let (job, new) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let mut account = Account::lock(&tx, request.user_id, now).await?;
        still_active(account.user())?;
        if let Some(key) = &key
            && let Some(job) = key.earlier(&tx, request.user_id).await?
        {
            return Ok::<_, ServiceError>((job, false));
        }
        let image = removable(&tx, account.user(), request.image_id).await?;
        let traceparent = request.traceparent.clone();
        let (job, new) = removal(&tx, services, &mut account, &image, traceparent).await?;
        if new && image.visibility == ImageVisibility::Public {
            let (action, actor) = (AuditAction::RemovePublicImage, Actor::from(account.user()));
            let subject = Subject::one(image.id, &image.reference);
            let details = json!({ "host": image.host_id, "job": job.id });
            actor.record(&tx, action, subject, details, now).await?;
        }
        if let Some(key) = &key {
            key.remember(&tx, request.user_id, job.id, now).await?;
        }
        account.save().await?;
        Ok::<_, ServiceError>((job, new))
    })?;
    if new {
        services.announce(&job, None);
    }
    Ok(job)
}

/// The live removal of a holding, made if there is none, and whether it was. `account` is its user's.
pub(crate) async fn removal(
    tx: &crate::infra::db::Transaction,
    services: &Services,
    account: &mut Account<'_>,
    image: &image::Model,
    traceparent: Option<String>,
) -> Result<(job::Model, bool), ServiceError> {
    let live = job::Entity::find()
        .filter(job::Column::RemovalOf.eq(image.id))
        .one(tx)
        .await?;
    if let Some(job) = live {
        return Ok((job, false));
    }
    let (kind, reference) = (JobKind::RemoveImage, image.reference.clone());
    let (user_id, now) = (account.user().id, account.now());
    let turn = place(tx, user_id, image.host_id, now).await?;
    let mut job = draft::draft(services, account, kind, image.host_id, turn, reference);
    job.image_id = Set(Some(image.id));
    job.engine_image_id = Set(Some(image.engine_image_id));
    job.removal_of = Set(Some(image.id));
    job.traceparent = Set(traceparent);
    Ok((transition::accepted(tx, job, now).await?, true))
}

/// The image, if this user may let go of it. Another user's image is answered as one that does not exist.
async fn removable(
    tx: &impl sea_orm::ConnectionTrait,
    user: &user::Model,
    image_id: Option<Uuid>,
) -> Result<image::Model, ServiceError> {
    let not_found = || {
        UserError::new(
            UserErrorCode::ImageNotFound,
            "imageId",
            "you have no such image: `images` lists what you hold",
        )
    };
    let image = image::Entity::find()
        .filter(image::Column::Id.eq(image_id))
        .one(tx)
        .await?
        .ok_or_else(not_found)?;
    let admin = user.role == Role::Admin;
    let own = image.user_id == Some(user.id);
    let message = match image.visibility {
        ImageVisibility::Private if !own => return Err(not_found().into()),
        ImageVisibility::Public if !admin => {
            "this image is public, and only an administrator can remove it; it costs you nothing"
        }
        _ if image.state != ImageState::Held => "you have let go of this image already",
        _ => return Ok(image),
    };
    Err(UserError::new(UserErrorCode::NotRemovable, "imageId", message).into())
}
