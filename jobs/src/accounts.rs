//! Users and their API tokens.

use rand::RngCore as _;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, JoinType, QueryFilter,
    QuerySelect, RelationTrait,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{Credits, Role, Timestamp, UserStatus, api_token, user};

use crate::credits::{Account, Purpose};
use crate::db::{Db, in_transaction};
use crate::error::{ServiceError, UserError, UserErrorCode};

/// What every token begins with, so that secret scanners can know it.
const TOKEN_PREFIX: &str = "whf_";

/// Longest user name, in characters.
const MAX_NAME_LENGTH: usize = 64;

/// A new user.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, whatever the case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// PHC string of the password, if there is one.
    pub password_hash: Option<String>,
    /// First balance, as a GRANT.
    pub credits: Credits,
}

/// Makes a user, with the first balance as a ledger entry.
pub async fn create_user(
    db: &Db,
    new: &NewUser,
    now: Timestamp,
) -> Result<user::Model, ServiceError> {
    check_name(&new.name)?;
    if new.credits.is_negative() {
        return Err(UserError::new(
            UserErrorCode::InvalidAmount,
            "credits",
            "a first balance cannot be negative",
        )
        .into());
    }
    in_transaction!(db, |tx| {
        let name_key = new.name.to_lowercase();
        let taken = user::Entity::find()
            .filter(user::Column::NameKey.eq(&name_key))
            .one(&tx)
            .await?;
        if taken.is_some() {
            Err(UserError::new(
                UserErrorCode::NameTaken,
                "name",
                format!("the name {} is in use: choose another", new.name),
            ))?;
        }
        let user = user::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(new.name.clone()),
            name_key: Set(name_key),
            role: Set(new.role),
            status: Set(UserStatus::Active),
            password_hash: Set(new.password_hash.clone()),
            total: Set(Credits::ZERO),
            held: Set(Credits::ZERO),
            ledger_entries: Set(0),
            accepted_jobs: Set(0),
            created_at: Set(now),
        }
        .insert(&tx)
        .await?;
        let mut account = Account::lock(&tx, user.id, now).await?;
        let purpose = Purpose {
            reason: Some("first balance".into()),
            ..Purpose::default()
        };
        account.grant(new.credits, purpose).await?;
        let balance = account.save().await?;
        Ok::<_, ServiceError>(user::Model {
            total: balance.total,
            ledger_entries: 1,
            ..user
        })
    })
}

fn check_name(name: &str) -> Result<(), UserError> {
    let letter = |c: char| c.is_ascii_alphanumeric();
    let good = name.len() <= MAX_NAME_LENGTH
        && name.starts_with(letter)
        && name
            .chars()
            .all(|c| letter(c) || matches!(c, '.' | '_' | '-' | '@' | '+'));
    if good {
        return Ok(());
    }
    Err(UserError::new(
        UserErrorCode::InvalidInput,
        "name",
        format!(
            "a user name begins with a letter or digit, goes on with letters, digits and . _ - @ +, and has at most {MAX_NAME_LENGTH} characters"
        ),
    ))
}

/// Makes an API token. Returns its secret, which is stored nowhere.
pub async fn create_token(
    db: &Db,
    user_id: Uuid,
    name: &str,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let mut random = [0u8; 32];
    rand::rng().fill_bytes(&mut random);
    let secret = format!("{TOKEN_PREFIX}{}", hex::encode(random));
    api_token::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(user_id),
        name: Set(name.to_owned()),
        secret_hash: Set(hash(&secret)),
        created_at: Set(now),
        last_used_at: Set(None),
        expires_at: Set(expires_at),
    }
    .insert(db.write())
    .await?;
    Ok(secret)
}

/// The user whose token this is; none for a token that is unknown or expired, or whose user is banned.
pub async fn authenticate(
    db: &Db,
    token: &str,
    now: Timestamp,
) -> Result<Option<user::Model>, ServiceError> {
    if !token.starts_with(TOKEN_PREFIX) || token.len() > 256 {
        return Ok(None);
    }
    let user = user::Entity::find()
        .join_rev(JoinType::InnerJoin, api_token::Relation::User.def())
        .filter(api_token::Column::SecretHash.eq(hash(token)))
        .filter(
            api_token::Column::ExpiresAt
                .is_null()
                .or(api_token::Column::ExpiresAt.gt(now)),
        )
        .one(db.read())
        .await?;
    Ok(user.filter(|user| user.status == UserStatus::Active))
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}
