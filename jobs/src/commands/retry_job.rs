//! `retryJob`: a new acceptance of a job that ended badly.

use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, Credits, ImageState, ImageVisibility, JobKind, Role, UserStatus, image, job, user,
};

use crate::accounts::audit::{self, Actor};
use crate::accounts::{still_active, still_administrator};
use crate::commands::cancel_job::find;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::holdings::publication;
use crate::infra::db::{Transaction, in_transaction};
use crate::infra::trace::TraceContext;
use crate::job::draft::{Key, count_retry, within_limits};
use crate::job::transition::{self, Transition};
use crate::ledger::{Account, Balance};
use crate::services::Services;

/// Runs a FAILED, DEAD or CANCELLED job again, holding its credits anew. Attempt numbers continue, and as many more
/// attempts are allowed as a new job has. `owner` limits it to that user's jobs; none is for administrators.
pub async fn retry_job(
    services: &Services,
    caller: Uuid,
    owner: Option<Uuid>,
    job_id: Option<Uuid>,
    idempotency_key: Option<&str>,
) -> Result<job::Model, ServiceError> {
    retry(services, caller, owner, None, job_id, idempotency_key).await
}

/// The same for any job, by an administrator: another user's enters the audit log, and its user's limits do not apply,
/// as it is not they who ask.
pub async fn retry_any_job(
    services: &Services,
    caller: Uuid,
    administrator: &Actor,
    job_id: Option<Uuid>,
    idempotency_key: Option<&str>,
) -> Result<job::Model, ServiceError> {
    let administrator = Some(administrator);
    retry(
        services,
        caller,
        None,
        administrator,
        job_id,
        idempotency_key,
    )
    .await
}

async fn retry(
    services: &Services,
    caller: Uuid,
    owner: Option<Uuid>,
    administrator: Option<&Actor>,
    job_id: Option<Uuid>,
    idempotency_key: Option<&str>,
) -> Result<job::Model, ServiceError> {
    let asked = job_id.map(|id| id.to_string()).unwrap_or_default();
    let key = Key::new("retryJob", idempotency_key, &[&asked])?;
    let (job, balance) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        if let Some(administrator) = administrator {
            still_administrator(&tx, administrator).await?;
        }
        let job = find(&tx, owner, job_id).await?;
        // The key is the caller's, the credits are the owner's.
        let account = Account::lock(&tx, job.user_id, now).await?;
        if let Some(key) = &key
            && let Some(job) = key.earlier(&tx, caller).await?
        {
            return Ok::<_, ServiceError>((job, None));
        }
        let anothers = administrator.filter(|_| job.user_id != caller);
        let limits = match anothers {
            Some(_) => Limits::Waived,
            None => Limits::OfTheUser,
        };
        if let Some(administrator) = anothers {
            audit::enter_job(&tx, administrator, AuditAction::RetryJob, &job, now).await?;
        }
        let (job, balance) = accept_again(&tx, services, job, account, limits).await?;
        if let Some(key) = &key {
            key.remember(&tx, caller, job.id, now).await?;
        }
        Ok::<_, ServiceError>((job, Some(balance)))
    })?;
    if balance.is_some() {
        services.announce(&job, balance);
    }
    Ok(job)
}

/// Whether everyone may use what the job is to pull.
async fn is_public(tx: &Transaction, job: &job::Model) -> Result<bool, DbErr> {
    match job.host_id {
        Some(host_id) => Ok(publication::of_reference(tx, host_id, &job.reference)
            .await?
            .is_some()),
        None => Ok(false),
    }
}

/// Whether an acceptance counts against what its user may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// It does: the user asks.
    OfTheUser,
    /// An administrator asks.
    Waived,
}

/// Accepts a job anew. It must be locked in `tx`, and `account` must be its user's.
pub(crate) async fn accept_again(
    tx: &Transaction,
    services: &Services,
    job: job::Model,
    mut account: Account<'_>,
    limits: Limits,
) -> Result<(job::Model, Balance), ServiceError> {
    let now = account.now();
    if !transition::allows(job.state, Transition::AcceptedAgain) {
        return Err(not_retryable(format!(
            "only a job that failed, is dead or was cancelled can be tried again: this one is {}",
            transition::state_label(job.state)
        ))
        .into());
    }
    // What an administrator redrives is a new acceptance too, and a banned user is given nothing new.
    match limits {
        Limits::OfTheUser => still_active(account.user())?,
        Limits::Waived if account.user().status == UserStatus::Banned => {
            return Err(not_retryable("its user is banned".into()).into());
        }
        Limits::Waived => {}
    }
    let mut again = job.clone().into_active_model();
    if job.kind == JobKind::PullImage && limits == Limits::OfTheUser {
        within_limits(tx, job.user_id, &services.settings.limits, now).await?;
        count_retry(tx, job.user_id, job.id, now).await?;
    }
    match job.kind {
        // It costs nothing: there is nothing to hold.
        JobKind::PullImage if is_public(tx, &job).await? => {}
        JobKind::PullImage => {
            let minimum = services.settings.credits.minimum_to_pull;
            if account.available() < minimum {
                let message = format!(
                    "a pull needs {minimum} credits, and {} are available",
                    account.available()
                );
                return Err(UserError::whole(UserErrorCode::InsufficientCredits, message).into());
            }
            account.set_hold(&mut again, Credits::ZERO, minimum)?;
        }
        JobKind::RemoveImage => {
            again.removal_of = Set(Some(removable(tx, account.user(), &job).await?));
        }
    }
    again.ordinal = Set(account.next_ordinal());
    again.max_attempts = Set(job
        .attempt
        .saturating_add(services.settings.retry.attempts()));
    if job.kind == JobKind::PullImage {
        // It may mean another image by now.
        again.engine_image_id = Set(None);
        again.progress = Set(None);
    }
    // A new acceptance by a new request: what follows is in its trace, which the span of the request links to the first.
    if let Some(place) = TraceContext::current() {
        if let Some(first) = job.traceparent.as_deref().and_then(TraceContext::parse) {
            first.link(&tracing::Span::current());
        }
        again.traceparent = Set(Some(place.to_string()));
    }
    let job = transition::accepted_again(tx, &job, again, now).await?;
    Ok((job, account.save().await?))
}

/// The holding that a removal is about, if it can be removed still.
async fn removable(
    tx: &Transaction,
    user: &user::Model,
    job: &job::Model,
) -> Result<Uuid, ServiceError> {
    let held = match job.image_id {
        Some(id) => image::Entity::find_by_id(id).one(tx).await?,
        None => None,
    };
    let held = held.filter(|image| image.state == ImageState::Held);
    let image = held.ok_or_else(|| not_retryable("the image is not held any more".into()))?;
    if image.visibility == ImageVisibility::Public && user.role != Role::Admin {
        let message = "the image is public, and only an administrator can remove it";
        return Err(not_retryable(message.into()).into());
    }
    let another = job::Entity::find()
        .filter(job::Column::RemovalOf.eq(image.id))
        .one(tx)
        .await?;
    if another.is_some() {
        let message = "another removal of this image is under way".into();
        return Err(not_retryable(message).into());
    }
    Ok(image.id)
}

fn not_retryable(message: String) -> UserError {
    UserError::new(UserErrorCode::JobNotRetryable, "jobId", message)
}
