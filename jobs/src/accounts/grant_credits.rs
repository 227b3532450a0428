//! `grantCredits`: credits given, or taken back.

use sea_orm::EntityTrait;
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Credits, ledger_entry, user};

use super::{no_such_user, one_line, still_administrator};
use crate::accounts::audit::{Actor, Subject};
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::job::idempotency::Key;
use crate::ledger::{Account, LedgerError, Purpose};
use crate::live::notify;
use crate::services::Services;

/// Longest reason, in characters.
const MAX_REASON: usize = 255;

/// The mutation that the keys of grants are of. They are kept for ever: a grant must not happen again.
pub(crate) const GRANT_KEYS: &str = "grantCredits";

/// Credits that an administrator gives, or takes back.
pub struct GrantCredits<'a> {
    /// Who gives.
    pub caller: &'a user::Model,
    /// To whom; none when the id given was not even one of a user.
    pub user_id: Option<Uuid>,
    /// Negative takes back.
    pub amount: Credits,
    /// In words, for the ledger.
    pub reason: &'a str,
    /// The caller's key, if any.
    pub idempotency_key: Option<&'a str>,
}

/// Moves the credits, once for each key. What is taken back is an ADJUSTMENT, what is given a GRANT.
pub async fn grant_credits(
    services: &Services,
    grant: &GrantCredits<'_>,
) -> Result<(user::Model, ledger_entry::Model), ServiceError> {
    let reason = check(grant)?;
    let (asked, amount) = (
        grant.user_id.map(|id| id.to_string()).unwrap_or_default(),
        grant.amount.to_string(),
    );
    let input = [asked.as_str(), &amount, reason];
    let key = Key::new(GRANT_KEYS, grant.idempotency_key, &input)?;
    let caller = grant.caller.id;
    let (user, entry, new) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let actor = Actor::from(grant.caller);
        still_administrator(&tx, &actor).await?;
        let user_id = grant.user_id.ok_or_else(no_such_user)?;
        let mut account = match Account::lock(&tx, user_id, now).await {
            Err(LedgerError::NoSuchUser(_)) => Err(no_such_user())?,
            account => account?,
        };
        if let Some(key) = &key
            && let Some(id) = key.earlier_result(&tx, caller).await?
            && let Some(entry) = ledger_entry::Entity::find_by_id(id).one(&tx).await?
        {
            return Ok((account.user().clone(), entry, false));
        }
        let purpose = Purpose {
            reason: Some(reason.to_owned()),
            ..Purpose::default()
        };
        let entry = account
            .grant(grant.amount, purpose)
            .await
            .map_err(|error| refusal(error, grant.amount))?;
        if let Some(key) = &key {
            key.remember_result(&tx, caller, entry.id, now).await?;
        }
        let user = account.user().clone();
        let details = json!({"amount": amount, "reason": reason});
        let subject = Subject::one(user_id, &user.name);
        let action = AuditAction::GrantCredits;
        actor.record(&tx, action, subject, details, now).await?;
        account.save().await?;
        Ok::<_, ServiceError>((user, entry, true))
    })?;
    if new {
        notify::balance_changed(&services.events, user.id);
    }
    Ok((user, entry))
}

fn check<'a>(grant: &GrantCredits<'a>) -> Result<&'a str, UserError> {
    if grant.amount == Credits::ZERO {
        return Err(UserError::new(
            UserErrorCode::InvalidAmount,
            "amount",
            "0 credits move nothing: give a positive amount, or take back a negative one",
        ));
    }
    one_line(grant.reason, MAX_REASON).ok_or_else(|| {
        let message = format!(
            "a reason has 1 to {MAX_REASON} characters, on one line: the user will read it"
        );
        UserError::new(UserErrorCode::InvalidInput, "reason", message)
    })
}

fn refusal(error: LedgerError, amount: Credits) -> ServiceError {
    let refuse = |code, message: String| UserError::new(code, "amount", message).into();
    match error {
        LedgerError::Insufficient { available, .. } => refuse(
            UserErrorCode::InsufficientCredits,
            format!("{available} credits are available, and no more can be taken back"),
        ),
        LedgerError::Overflow => refuse(
            UserErrorCode::InvalidAmount,
            format!("{amount} credits are more than an account can hold"),
        ),
        error => error.into(),
    }
}
