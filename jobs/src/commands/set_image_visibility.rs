//! `setImageVisibility`: an administrator publishes an image. There is no way back: those who use a public image have not
//! paid for it.

use std::time::Duration;

use sea_orm::{EntityTrait, QueryFilter};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, ImageState, ImageVisibility, engine_image, image};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_administrator;
use crate::engine_images::lock;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::holdings::found::Found;
use crate::holdings::publication::{Publication, Published, publish};
use crate::infra::db::{for_update, in_transaction};
use crate::services::Services;

/// How long is waited for a removal, or another change of the image on its engine, that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks whether that has ended.
const POLL: Duration = Duration::from_millis(50);

/// Makes an image public or, which is refused for one that is public, private. Publishing covers the image id on its
/// host: every holder gets back what they paid, once. Returns the public image, also where there was one already.
pub async fn set_image_visibility(
    services: &Services,
    actor: &Actor,
    image_id: Option<Uuid>,
    visibility: ImageVisibility,
) -> Result<image::Model, ServiceError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let set = in_transaction!(services.db, |tx| {
            still_administrator(&tx, actor).await?;
            // The (host, image id) row first, as settlement, removal and reconciler do.
            let Some(asked) = find(&tx, image_id).await? else {
                return Err(ServiceError::from(no_such_image()));
            };
            let row = engine_image::Entity::find_by_id(asked.engine_image_id)
                .filter(lock::unlocked(services));
            let Some(row) = for_update(&tx, row).one(&tx).await? else {
                return Ok(Answer::Busy);
            };
            // It may have been let go of while the row was waited for.
            let asked = find(&tx, image_id).await?.ok_or_else(no_such_image)?;
            let found = Found::read(&tx, &row, Uuid::nil(), &asked.reference).await?;
            match (visibility, found.public_of_image().cloned()) {
                (ImageVisibility::Public, Some(public)) => Ok(Answer::Already(public)),
                (ImageVisibility::Private, Some(_)) => Err(stays_public().into()),
                _ if asked.state != ImageState::Held => Err(not_held().into()),
                (ImageVisibility::Private, None) => Ok(Answer::Already(asked)),
                (ImageVisibility::Public, None) => {
                    let published = make_public(&tx, services, actor, &row, asked).await?;
                    Ok(Answer::Done(Box::new(published)))
                }
            }
        })?;
        match set {
            Answer::Already(image) => return Ok(image),
            Answer::Done(published) => {
                published.announce(services);
                return Ok(published.image);
            }
            Answer::Busy if Instant::now() < give_up => tokio::time::sleep(POLL).await,
            Answer::Busy => return Err(busy().into()),
        }
    }
}

enum Answer {
    Already(image::Model),
    Done(Box<Published>),
    Busy,
}

async fn find(
    tx: &crate::infra::db::Transaction,
    image_id: Option<Uuid>,
) -> Result<Option<image::Model>, sea_orm::DbErr> {
    match image_id {
        Some(id) => image::Entity::find_by_id(id).one(tx).await,
        None => Ok(None),
    }
}

async fn make_public(
    tx: &crate::infra::db::Transaction,
    services: &Services,
    actor: &Actor,
    row: &engine_image::Model,
    asked: image::Model,
) -> Result<Published, ServiceError> {
    let publication = Publication {
        reference: asked.reference,
        digest: asked.digest,
        pulled_at: asked.pulled_at,
    };
    let published = publish(tx, services, row, publication).await?;
    let subject = Subject::one(published.image.id, &published.image.reference);
    let details = json!({
        "visibility": ImageVisibility::Public,
        "host": row.host_id,
        "imageId": row.image_id,
        "holders": published.refunded(),
    });
    let (action, now) = (AuditAction::SetImageVisibility, services.clock.now());
    actor.record(tx, action, subject, details, now).await?;
    Ok(published)
}

fn no_such_image() -> UserError {
    UserError::new(
        UserErrorCode::ImageNotFound,
        "imageId",
        "there is no such image: `image` of a job, or `images` of a user, has the id",
    )
}

fn not_held() -> UserError {
    UserError::new(
        UserErrorCode::ImageNotFound,
        "imageId",
        "no user holds this image any more, and only an image that a user holds can be published: pull it again first",
    )
}

fn stays_public() -> UserError {
    UserError::new(
        UserErrorCode::NotRemovable,
        "visibility",
        "a public image cannot become private, because its users did not pay for it: remove it, and users who need it can pull it again",
    )
}

fn busy() -> UserError {
    UserError::new(
        UserErrorCode::HostUnavailable,
        "imageId",
        "the image is being changed on its host at this moment: try again when that is done",
    )
}
