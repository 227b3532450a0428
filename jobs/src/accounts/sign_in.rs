//! `signIn` and `signOut`.

use std::net::IpAddr;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, UserStatus, api_token, user};

use super::throttle::Try;
use super::tokens;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::ledger::Account;
use crate::live::notify;
use crate::services::Services;

/// Tokens of signing in that one user may have: the oldest is revoked for one more.
const MAX_SIGN_INS: u64 = 100;

/// A sign-in that succeeded.
#[derive(Debug)]
pub struct SignedIn {
    /// The user.
    pub user: user::Model,
    /// The token that was made for them.
    pub token: api_token::Model,
    /// Its secret, which is stored nowhere.
    pub secret: String,
}

/// Exchanges a name and password for a token that expires after `sessions.lifetime`. An unknown name, a user without a
/// password and a banned one are answered as a wrong password is, after the same work.
pub async fn sign_in(
    services: &Services,
    name: &str,
    password: &str,
    address: Option<IpAddr>,
) -> Result<SignedIn, ServiceError> {
    let attempt = Try::begin(&services.db, name, address, services.clock.now()).await?;
    let found = user::Entity::find()
        .filter(user::Column::NameKey.eq(name.to_lowercase()))
        .one(services.db.read())
        .await?;
    let hash = found
        .as_ref()
        .and_then(|user| user.password_hash.as_deref());
    let right = match services.passwords.matches(password, hash).await {
        Ok(right) => right,
        Err(error) => {
            attempt.release(&services.db).await?;
            return Err(error.into());
        }
    };
    let user = found
        .filter(|user| right && user.status == UserStatus::Active)
        .ok_or_else(wrong)?;
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let account = Account::lock(&tx, user.id, now).await?;
        // Banned, or with another password, since it was looked at.
        let current = account.user();
        if current.status != UserStatus::Active || current.password_hash != user.password_hash {
            Err(wrong())?;
        }
        attempt.succeeded(&tx).await?;
        make_room(&tx, user.id, now).await?;
        let name = match address {
            Some(address) => format!("signed in from {}", address.to_canonical()),
            None => "signed in".to_owned(),
        };
        let expires_at = now.after(services.settings.sessions.lifetime);
        let (token, secret) =
            tokens::insert(&tx, user.id, &name, Some(expires_at), true, now).await?;
        Ok::<_, ServiceError>(SignedIn {
            user: current.clone(),
            token,
            secret,
        })
    })
}

/// Revokes the token that the caller used, at once and on every gateway.
pub async fn sign_out(services: &Services, token: &api_token::Model) -> Result<(), ServiceError> {
    api_token::Entity::delete_by_id(token.id)
        .exec(services.db.write())
        .await?;
    notify::access_changed(&services.events, token.user_id);
    Ok(())
}

/// Leaves room for one more token of signing in. The user's row must be locked.
async fn make_room(tx: &impl ConnectionTrait, user_id: Uuid, now: Timestamp) -> Result<(), DbErr> {
    let surplus: Vec<Uuid> = api_token::Entity::find()
        .select_only()
        .column(api_token::Column::Id)
        .filter(api_token::Column::UserId.eq(user_id))
        .filter(api_token::Column::SignIn.eq(true))
        .filter(api_token::Column::ExpiresAt.gt(now))
        .order_by_desc(api_token::Column::Id)
        .offset(MAX_SIGN_INS - 1)
        .limit(MAX_SIGN_INS)
        .into_tuple()
        .all(tx)
        .await?;
    if !surplus.is_empty() {
        api_token::Entity::delete_many()
            .filter(api_token::Column::Id.is_in(surplus))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// The refusal. It has the same words for a wrong name and a wrong password.
pub(super) fn wrong() -> UserError {
    UserError::whole(
        UserErrorCode::InvalidCredentials,
        "wrong name or password: ask an administrator for a new password if you lost yours",
    )
}
