//! Accepting a pull: one transaction, then the answer.

use sea_orm::{ActiveValue::Set, ConnectionTrait as _, DbErr};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::reference::ImageReference;
use wharfinger_entity::{
    AuditAction, Credits, ImageState, JobKind, Role, Timestamp, image, job, user,
};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_active;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::holdings::{self, publication};
use crate::hosts::placement::{Candidate, choose};
use crate::infra::db::sql::{Columns, Sql};
use crate::infra::db::{Transaction, in_transaction};
use crate::job::draft;
use crate::job::idempotency::Key;
use crate::job::limits::Usage;
use crate::job::order::Turns;
use crate::job::transition;
use crate::ledger::{Account, Purpose};
use crate::services::Services;

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

    let (job, new) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let mut account = Account::lock(&tx, request.user_id, now).await?;
        still_active(account.user())?;
        let ground = Ground::read(&tx, services, request, &stored, key.as_ref(), now).await?;
        if let Some(key) = &key
            && ground.key_is_known
            && let Some(job) = key.earlier(&tx, request.user_id).await?
        {
            Ok::<_, ServiceError>((job, None))
        } else {
            let place = choose(services, request.host, ground.places, |place| &place.host)?;
            let limits = &services.settings.limits;
            let has_room = place.usage.has_room(&tx, limits, request.user_id, now);
            has_room.await?;
            let host_id = place.host.id;
            let mut job = draft::draft(
                services,
                &mut account,
                JobKind::PullImage,
                host_id,
                place.turns.place(),
                stored.clone(),
            );
            job.host_named = Set(request.host.is_some());
            job.traceparent = Set(request.traceparent.clone());
            let id = job.id.clone().take().unwrap_or_default();
            let public = if place.is_public {
                publication::of_reference(&tx, host_id, &stored).await?
            } else {
                None
            };
            let done = public.is_some() && account.user().role != Role::Admin;
            match public {
                Some(image) if account.user().role == Role::Admin => {
                    refresh(&tx, account.user(), id, &image, now).await?;
                }
                Some(image) => succeed_at_once(&tx, &mut account, &mut job, image).await?,
                None => {
                    let minimum = services.settings.credits.minimum_to_pull;
                    affords(&account, minimum)?;
                    account.set_hold(&mut job, Credits::ZERO, minimum)?;
                }
            }
            let job = if done {
                transition::accepted_as_done(&tx, job, now).await?
            } else {
                transition::accepted(&tx, job, now).await?
            };
            if let Some(key) = &key {
                key.remember(&tx, request.user_id, job.id, now).await?;
            }
            Ok::<_, ServiceError>((job, Some(account.save().await?)))
        }
    })?;
    if let Some(balance) = new {
        services.announce(&job, Some(balance));
    }
    Ok(job)
}

/// The data on which an acceptance decides, read by one statement when the account is locked.
struct Ground {
    /// The hosts that the pull may go to.
    places: Vec<Place>,
    /// Whether a call with the same key came before.
    key_is_known: bool,
}

/// A host that the pull may go to.
struct Place {
    host: Candidate,
    turns: Turns,
    usage: Usage,
    /// Whether everyone may use there what the reference means.
    is_public: bool,
}

impl Ground {
    async fn read(
        tx: &Transaction,
        services: &Services,
        request: &PullImage,
        reference: &str,
        key: Option<&Key>,
        now: Timestamp,
    ) -> Result<Self, DbErr> {
        let (user_id, limits) = (request.user_id, &services.settings.limits);
        let mut sql = Sql::new(tx.get_database_backend());
        sql.push("SELECT ");
        Candidate::columns(&mut sql, user_id, reference);
        Turns::columns(sql.push(", "), user_id, now);
        publication::count(sql.push(", "), reference);
        Usage::columns(&mut sql, limits, user_id, now);
        if let Some(key) = key {
            key.count(sql.push(", "), user_id);
        }
        Candidate::from(&mut sql, request.host);
        let mut ground = Self {
            places: Vec::new(),
            // Where there is no host, there is no row to tell.
            key_is_known: true,
        };
        for row in tx.query_all_raw(sql.statement()).await? {
            let mut columns = Columns::of(&row);
            ground.places.push(Place {
                host: Candidate::read(&mut columns)?,
                turns: Turns::read(&mut columns)?,
                is_public: columns.take::<i64>()? > 0,
                usage: Usage::read(&mut columns, limits)?,
            });
            ground.key_is_known = key.is_some() && columns.take::<i64>()? > 0;
        }
        Ok(ground)
    }
}

/// Refuses a pull that its user cannot pay for.
fn affords(account: &Account<'_>, minimum: Credits) -> Result<(), UserError> {
    if account.available() >= minimum {
        return Ok(());
    }
    Err(UserError::whole(
        UserErrorCode::InsufficientCredits,
        format!(
            "a pull needs {minimum} credits, and {} are available: remove an image, or ask an administrator for more",
            account.available()
        ),
    ))
}

/// Everyone may use what the reference means on this host, and it is there: the job is done. What its user held by the
/// same reference from before it meant this image is let go of, as by any pull that finds a tag moved.
async fn succeed_at_once(
    tx: &Transaction,
    account: &mut Account<'_>,
    job: &mut job::ActiveModel,
    image: image::Model,
) -> Result<(), ServiceError> {
    let user_id = account.user().id;
    let (host_id, reference) = (image.host_id, image.reference);
    let held = holdings::of_reference(tx, user_id, host_id, &reference).await?;
    if let Some(old) = held {
        let purpose = Purpose {
            job_id: None,
            reference: Some(reference),
            reason: Some("the tag moved to another image".to_owned()),
        };
        let now = account.now();
        let state = ImageState::Released;
        holdings::end(tx, Some(&mut *account), old, state, purpose, now).await?;
    }
    job.engine_image_id = Set(Some(image.engine_image_id));
    job.image_id = Set(Some(image.id));
    Ok(())
}

/// Records that an administrator pulls a public reference again. The image that it names then is public too, and free, so the
/// job holds no credits.
async fn refresh(
    tx: &Transaction,
    administrator: &user::Model,
    job_id: Uuid,
    image: &image::Model,
    now: Timestamp,
) -> Result<(), DbErr> {
    let (action, actor) = (AuditAction::RefreshPublicImage, Actor::from(administrator));
    let subject = Subject::one(image.id, &image.reference);
    let details = json!({ "host": image.host_id, "job": job_id });
    actor.record(tx, action, subject, details, now).await
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
