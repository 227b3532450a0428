//! `changePassword`.

use std::net::IpAddr;

use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use uuid::Uuid;
use wharfinger_entity::user;

use super::throttle::Try;
use super::{still_active, tokens};
use crate::accounts::password_strength::hash_strong;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::ledger::Account;
use crate::live::notify;
use crate::services::Services;

/// A user wants another password.
pub struct ChangePassword<'a> {
    /// Who.
    pub user: &'a user::Model,
    /// The token that they called with, which stays.
    pub token_id: Uuid,
    /// From where.
    pub address: Option<IpAddr>,
    /// The password until now.
    pub current: &'a str,
    /// The password from now on.
    pub new: &'a str,
}

/// Changes the password and revokes the tokens of other sign-ins: a thief of the old password is signed out. The token
/// used, and those made by name for scripts, stay.
pub async fn change_password(
    services: &Services,
    change: &ChangePassword<'_>,
) -> Result<user::Model, ServiceError> {
    let user = change.user;
    let (name, now) = (&user.name, services.clock.now());
    // A stolen token must not do to guess the password.
    let attempt = Try::begin(&services.db, name, change.address, now).await?;
    let hash = user.password_hash.as_deref();
    let right = match services.passwords.matches(change.current, hash).await {
        Ok(right) => right,
        Err(error) => {
            attempt.release(&services.db).await?;
            return Err(error.into());
        }
    };
    if !right {
        return Err(wrong().into());
    }
    in_transaction!(services.db, |tx| {
        Ok::<_, ServiceError>(attempt.succeeded(&tx).await?)
    })?;
    if change.current == change.new {
        return Err(UserError::new(
            UserErrorCode::InvalidInput,
            "new",
            "this is the password that you have: choose another",
        )
        .into());
    }
    let new_hash = hash_strong(&services.passwords, change.new, name, "new").await?;
    let changed = in_transaction!(services.db, |tx| {
        let account = Account::lock(&tx, user.id, services.clock.now()).await?;
        still_active(account.user())?;
        if account.user().password_hash != user.password_hash {
            Err(wrong())?;
        }
        let changed = user::ActiveModel {
            id: Set(user.id),
            password_hash: Set(Some(new_hash.clone())),
            ..Default::default()
        }
        .update(&tx)
        .await?;
        tokens::end_sign_ins(&tx, user.id, Some(change.token_id)).await?;
        Ok::<_, ServiceError>(changed)
    })?;
    notify::access_changed(&services.events, user.id);
    Ok(changed)
}

fn wrong() -> UserError {
    UserError::new(
        UserErrorCode::InvalidCredentials,
        "current",
        "this is not your password; an administrator can give you a new one",
    )
}
