//! `retryJob`: a new acceptance of a job that ended badly.

use sea_orm::{ActiveValue::Set, IntoActiveModel};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, UserStatus, job};

use crate::accounts::audit::Actor;
use crate::accounts::{still_active, still_administrator};
use crate::attempt::{Limits, Retry};
use crate::commands::cancel_job::find;
use crate::error::{ServiceError, UserError};
use crate::infra::db::{Transaction, in_transaction};
use crate::infra::trace::TraceContext;
use crate::job::idempotency::Key;
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
            administrator
                .record_on_job(&tx, AuditAction::RetryJob, &job, now)
                .await?;
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
        return Err(UserError::not_retryable(format!(
            "only a job that failed, is dead or was cancelled can be tried again: this one is {}",
            transition::state_label(job.state)
        ))
        .into());
    }
    // What an administrator redrives is a new acceptance too, and a banned user is given nothing new.
    match limits {
        Limits::OfTheUser => still_active(account.user())?,
        Limits::Waived if account.user().status == UserStatus::Banned => {
            return Err(UserError::not_retryable("its user is banned").into());
        }
        Limits::Waived => {}
    }
    let mut again = job.clone().into_active_model();
    let retry = Retry {
        tx,
        services,
        job: &job,
        account: &mut account,
        limits,
        again: &mut again,
    };
    crate::kinds::implementation_of(job.kind)
        .accept_again(retry)
        .await?;
    again.ordinal = Set(account.next_ordinal());
    again.max_attempts = Set(job
        .attempt
        .saturating_add(services.settings.retry.attempts()));
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
