//! Tokens of callers. The database has only the hash of a token's secret.

use std::collections::HashMap;

use rand::RngCore as _;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr,
    EntityTrait, ModelTrait as _, PaginatorTrait, QueryFilter, Statement,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Role, Timestamp, UserStatus, api_token, user};

use super::{one_line, still_active};
use crate::accounts::audit::{Actor, Subject};
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::sql::{Columns, Sql, columns};
use crate::infra::db::{Db, in_transaction};
use crate::ledger::Account;
use crate::live::notify;
use crate::services::Services;

/// The beginning of every token, for secret scanners.
const TOKEN_PREFIX: &str = "whf_";

/// Longest name of a token, in characters.
const MAX_NAME: usize = 100;

/// Tokens that one user may have made by name.
const MAX_NAMED: u64 = 100;

/// A token that was found good, and whose it is.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The user: active.
    pub user: user::Model,
    /// The token.
    pub token: api_token::Model,
}

/// The user whose token this is, as [`super::TokenLookups`] finds them.
#[cfg(feature = "testing")]
pub async fn authenticate(
    db: &Db,
    secret: &str,
    now: Timestamp,
) -> Result<Option<Authenticated>, ServiceError> {
    Ok(authenticate_all(db, &[secret], now).await?.remove(secret))
}

/// The users whose tokens these are, by the secrets; those that are unknown, revoked or expired, or whose user is banned, are
/// left out.
pub(super) async fn authenticate_all(
    db: &Db,
    secrets: &[&str],
    now: Timestamp,
) -> Result<HashMap<String, Authenticated>, DbErr> {
    let mut hashes: HashMap<String, &str> = secrets
        .iter()
        .filter(|secret| secret.starts_with(TOKEN_PREFIX) && secret.len() <= 256)
        .map(|secret| (hash(secret), *secret))
        .collect();
    // A power of two, so that there are few different statements to prepare.
    let mut listed: Vec<String> = hashes.keys().cloned().collect();
    let Some(last) = listed.last().cloned() else {
        return Ok(HashMap::new());
    };
    listed.resize(listed.len().next_power_of_two(), last);
    let rows = db.planned().query_all_raw(by_hashes(db.backend(), listed));
    let mut good = HashMap::new();
    for row in rows.await? {
        let mut columns = Columns::of(&row);
        let found = Authenticated {
            token: token(&mut columns)?,
            user: user(&mut columns)?,
        };
        let expired = found.token.expires_at.is_some_and(|end| end <= now);
        if !expired
            && found.user.status == UserStatus::Active
            && let Some(secret) = hashes.remove(&found.token.secret_hash)
        {
            good.insert(secret.to_owned(), found);
        }
    }
    Ok(good)
}

/// The statement by which a token is looked up alone, and whose it is. For those who compare with it.
#[cfg(feature = "testing")]
pub fn statement(backend: DbBackend, secret: &str) -> Statement {
    by_hashes(backend, vec![hash(secret)])
}

fn by_hashes(backend: DbBackend, hashes: Vec<String>) -> Statement {
    let mut sql = Sql::new(backend);
    sql.push("SELECT ")
        .list("t.", TOKEN)
        .push(", ")
        .list("u.", USER);
    sql.push(" FROM api_tokens AS t JOIN users AS u ON u.id = t.user_id WHERE t.secret_hash IN ");
    sql.bind_all(hashes);
    sql.statement()
}

columns!(TOKEN, token -> api_token::Model {
    id, user_id, name, secret_hash, created_at, last_used_at, expires_at, sign_in
});

columns!(USER, user -> user::Model {
    id, name, name_key, role, status, password_hash, total, held, ledger_entries, accepted_jobs, created_at
});

/// Makes an API token for scripts. Returns its secret, which is stored nowhere, beside it.
pub async fn create_api_token(
    services: &Services,
    user_id: Uuid,
    name: &str,
    expires_at: Option<Timestamp>,
) -> Result<(api_token::Model, String), ServiceError> {
    let name = check_name(name)?;
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        if expires_at.is_some_and(|instant| instant <= now) {
            Err(UserError::new(
                UserErrorCode::InvalidInput,
                "expiresAt",
                "a token cannot have expired already: give an instant to come, or leave it out",
            ))?;
        }
        // The user's row is the lock: two requests cannot both make the last one.
        let account = Account::lock(&tx, user_id, now).await?;
        still_active(account.user())?;
        let named = api_token::Entity::find()
            .filter(api_token::Column::UserId.eq(user_id))
            .filter(api_token::Column::SignIn.eq(false))
            .count(&tx)
            .await?;
        if named >= MAX_NAMED {
            Err(UserError::whole(
                UserErrorCode::InvalidInput,
                format!("you have {named} tokens, and {MAX_NAMED} is the limit: revoke one first"),
            ))?;
        }
        Ok::<_, ServiceError>(insert(&tx, user_id, name, expires_at, false, now).await?)
    })
}

/// Revokes a token, at once and on every gateway. A user may revoke their own tokens, an administrator all.
pub async fn revoke_api_token(
    services: &Services,
    caller: &user::Model,
    token_id: Option<Uuid>,
) -> Result<(), ServiceError> {
    let owner = in_transaction!(services.db, |tx| {
        let token = match token_id {
            Some(id) => api_token::Entity::find_by_id(id).one(&tx).await?,
            None => None,
        };
        let may =
            |token: &api_token::Model| token.user_id == caller.id || caller.role == Role::Admin;
        let token = token.filter(may).ok_or_else(|| {
            UserError::new(
                UserErrorCode::NotFound,
                "apiTokenId",
                "you have no such token: `viewer { apiTokens { id name } }` lists yours",
            )
        })?;
        let owner = token.user_id;
        if owner != caller.id {
            let actor = Actor::from(caller);
            super::still_administrator(&tx, &actor).await?;
            let user = user::Entity::find_by_id(owner).one(&tx).await?;
            let subject = Subject::one(owner, user.map_or_else(String::new, |user| user.name));
            let (action, details) = (AuditAction::RevokeApiToken, json!({"token": token.name}));
            let now = services.clock.now();
            actor.record(&tx, action, subject, details, now).await?;
        }
        token.delete(&tx).await?;
        Ok::<_, ServiceError>(owner)
    })?;
    notify::access_changed(&services.events, owner);
    Ok(())
}

/// Makes an API token straight in the database. Returns its secret, which is stored nowhere.
pub async fn create_token(
    db: &Db,
    user_id: Uuid,
    name: &str,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let (_, secret) = insert(db.write(), user_id, name, expires_at, false, now).await?;
    Ok(secret)
}

/// A new token with its secret.
pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    user_id: Uuid,
    name: &str,
    expires_at: Option<Timestamp>,
    sign_in: bool,
    now: Timestamp,
) -> Result<(api_token::Model, String), DbErr> {
    let mut random = [0u8; 32];
    rand::rng().fill_bytes(&mut random);
    let secret = format!("{TOKEN_PREFIX}{}", hex::encode(random));
    let token = api_token::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(user_id),
        name: Set(name.to_owned()),
        secret_hash: Set(hash(&secret)),
        created_at: Set(now),
        last_used_at: Set(None),
        expires_at: Set(expires_at),
        sign_in: Set(sign_in),
    }
    .insert(connection)
    .await?;
    Ok((token, secret))
}

/// Revokes every token that signing in made for this user, but `keep`.
pub(super) async fn end_sign_ins(
    tx: &impl ConnectionTrait,
    user_id: Uuid,
    keep: Option<Uuid>,
) -> Result<(), DbErr> {
    let mut tokens = api_token::Entity::delete_many()
        .filter(api_token::Column::UserId.eq(user_id))
        .filter(api_token::Column::SignIn.eq(true));
    if let Some(keep) = keep {
        tokens = tokens.filter(api_token::Column::Id.ne(keep));
    }
    tokens.exec(tx).await.map(drop)
}

/// Selects tokens of signing in that have expired. Those with a name stay listed, so that their user sees what happened.
pub(crate) fn expired_sign_ins(now: Timestamp) -> Condition {
    Condition::all()
        .add(api_token::Column::ExpiresAt.lte(now))
        .add(api_token::Column::SignIn.eq(true))
}

fn check_name(name: &str) -> Result<&str, UserError> {
    one_line(name, MAX_NAME).ok_or_else(|| {
        let message =
            format!("a token's name has 1 to {MAX_NAME} characters and says what it is for");
        UserError::new(UserErrorCode::InvalidInput, "name", message)
    })
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}
