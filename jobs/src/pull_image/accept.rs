//! Accepting a pull: one transaction, then the answer.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::reference::ImageReference;
use wharfinger_entity::{Credits, ImageVisibility, JobKind, JobState, host, image, job};

use crate::accept::{Key, draft, within_limits};
use crate::credits::{Account, Balance};
use crate::db::in_transaction;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::services::Services;
use crate::{dispatch, hosts};

/// Longest fully qualified reference that is stored, in characters.
const MAX_REFERENCE_LENGTH: usize = 512;

/// A user asks for an image on a host.
#[derive(Clone, Debug)]
pub struct PullImage {
    /// Who asks.
    pub user_id: Uuid,
    /// As the user wrote it.
    pub reference: String,
    /// Where to put it; none to have a host chosen.
    pub host: Option<Uuid>,
    /// The caller's key, if any.
    pub idempotency_key: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// Records the request durably and holds its credits. The job that comes back will end in a final state.
pub async fn accept(services: &Services, request: &PullImage) -> Result<job::Model, ServiceError> {
    let reference = parse(services, &request.reference)?;
    let stored = reference.to_string();
    let host_text = request.host.map(|id| id.to_string()).unwrap_or_default();
    let key = Key::new(
        "pullImage",
        request.idempotency_key.as_deref(),
        &[&stored, &host_text],
    )?;

    let (job, balance, new) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let mut account = Account::lock(&tx, request.user_id, now).await?;
        if let Some(key) = &key
            && let Some(job) = key.earlier(&tx, request.user_id).await?
        {
            Ok::<_, ServiceError>((job, Balance::from(account.user()), New::No))
        } else {
            let host = hosts::place(&tx, services, request.user_id, request.host, &stored).await?;
            within_limits(&tx, request.user_id, &services.settings.limits, now).await?;
            let (mut job, place) = draft(
                &tx,
                services,
                &mut account,
                JobKind::PullImage,
                host.id,
                stored.clone(),
            )
            .await?;
            job.host_named = Set(request.host.is_some());
            job.traceparent = Set(request.traceparent.clone());
            if let Some(image) = public_image(&tx, host.id, &stored).await? {
                job.state = Set(JobState::Succeeded);
                job.engine_image_id = Set(Some(image.engine_image_id));
                job.image_id = Set(Some(image.id));
                job.finished_at = Set(Some(now));
                job.live = Set(None);
            } else {
                let minimum = services.settings.credits.minimum_to_pull;
                if account.available() < minimum {
                    Err(UserError::whole(
                        UserErrorCode::InsufficientCredits,
                        format!(
                            "a pull needs {minimum} credits, and {} are available: remove an image, or ask an administrator for more",
                            account.available()
                        ),
                    ))?;
                }
                account.set_hold(&mut job, Credits::ZERO, minimum)?;
            }
            let job = job.insert(&tx).await?;
            if let Some(key) = &key {
                key.remember(&tx, request.user_id, job.id, now).await?;
            }
            let new = if place.next && job.state == JobState::Queued {
                New::Next(host)
            } else {
                New::Yes
            };
            Ok::<_, ServiceError>((job, account.save().await?, new))
        }
    })?;
    match new {
        New::No => {}
        New::Yes => services.announce(&job, Some(balance)),
        New::Next(host) => {
            dispatch::hand_out(services, host, &job);
            services.announce_handed_out(&job, Some(balance));
        }
    }
    Ok(job)
}

/// Whether a job came of the request.
enum New {
    /// The one of an earlier call with the same key.
    No,
    /// A new one.
    Yes,
    /// A new one, and nobody waits for its host.
    Next(host::Model),
}

/// The image that everyone may use under this reference on a host, if there is one: it costs nothing and is there already.
pub(crate) async fn public_image(
    tx: &impl sea_orm::ConnectionTrait,
    host_id: Uuid,
    reference: &str,
) -> Result<Option<image::Model>, sea_orm::DbErr> {
    image::Entity::find()
        .filter(image::Column::Holder.eq(Uuid::nil()))
        .filter(image::Column::HostId.eq(host_id))
        .filter(image::Column::Reference.eq(reference))
        .filter(image::Column::Live.eq(1))
        .filter(image::Column::Visibility.eq(ImageVisibility::Public))
        .one(tx)
        .await
}

fn parse(services: &Services, written: &str) -> Result<ImageReference, UserError> {
    let invalid =
        |message: String| UserError::new(UserErrorCode::InvalidReference, "reference", message);
    let reference = ImageReference::parse(written).map_err(|error| invalid(error.to_string()))?;
    if reference.to_string().len() > MAX_REFERENCE_LENGTH {
        return Err(invalid(format!(
            "the reference is longer than {MAX_REFERENCE_LENGTH} characters"
        )));
    }
    services
        .rules
        .permits_name(reference.registry())
        .map_err(|refused| {
            UserError::new(
                UserErrorCode::RegistryNotAllowed,
                "reference",
                refused.to_string(),
            )
        })?;
    Ok(reference)
}
