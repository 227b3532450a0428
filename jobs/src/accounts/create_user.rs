//! `createUser`, and the first administrator.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter,
};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Credits, Role, Timestamp, UserStatus, user};

use super::still_administrator;
use crate::accounts::audit::{Actor, Subject};
use crate::accounts::password_strength::hash_strong;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{Db, Transaction, in_transaction};
use crate::ledger::{Account, Purpose};
use crate::services::Services;

/// Longest user name, in characters.
const MAX_NAME_LENGTH: usize = 64;

/// A new user.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, regardless of case.
    pub name: String,
    /// The role.
    pub role: Role,
    /// PHC string of the password, if there is one.
    pub password_hash: Option<String>,
    /// First balance, as a GRANT.
    pub credits: Credits,
}

/// A new user as an administrator describes it.
pub struct CreateUser<'a> {
    /// Unique, regardless of case.
    pub name: &'a str,
    /// Left out, they cannot sign in until an administrator gives them one.
    pub password: Option<&'a str>,
    /// The role.
    pub role: Role,
    /// First balance; `credits.initial` if left out.
    pub credits: Option<Credits>,
}

/// Makes a user for an administrator, with the first balance as a ledger entry.
pub async fn create_user_by(
    services: &Services,
    actor: &Actor,
    request: &CreateUser<'_>,
) -> Result<user::Model, ServiceError> {
    check_name(request.name)?;
    let password_hash = match request.password {
        Some(password) => {
            Some(hash_strong(&services.passwords, password, request.name, "password").await?)
        }
        None => None,
    };
    let new = NewUser {
        name: request.name.to_owned(),
        role: request.role,
        password_hash,
        credits: request.credits.unwrap_or(services.settings.credits.initial),
    };
    make(&services.db, &new, actor, services.clock.now()).await
}

/// Makes a user from the command line, with the first balance as a ledger entry.
pub async fn create_user(
    db: &Db,
    new: &NewUser,
    now: Timestamp,
) -> Result<user::Model, ServiceError> {
    make(db, new, &Actor::Program("command line"), now).await
}

/// Whether there is no user yet.
pub async fn is_empty(db: &Db) -> Result<bool, DbErr> {
    Ok(user::Entity::find().one(db.read()).await?.is_none())
}

/// Makes the administrator that the settings name, if there is no user yet: once, however many gateways start at once.
pub async fn create_first_admin(
    db: &Db,
    new: &NewUser,
    now: Timestamp,
) -> Result<Option<user::Model>, ServiceError> {
    check(new)?;
    let made = in_transaction!(db, |tx| {
        // Two requests that both find no user meet at the unique name: the second looks again, or finds the name taken.
        if user::Entity::find().count(&tx).await? > 0 {
            return Ok(None);
        }
        let user = insert(&tx, new, &Actor::Program("settings"), now).await?;
        Ok::<_, ServiceError>(Some(user))
    });
    match made {
        Err(ServiceError::Rejected(error)) if error.code == UserErrorCode::NameTaken => Ok(None),
        made => made,
    }
}

async fn make(
    db: &Db,
    new: &NewUser,
    actor: &Actor,
    now: Timestamp,
) -> Result<user::Model, ServiceError> {
    check(new)?;
    in_transaction!(db, |tx| {
        still_administrator(&tx, actor).await?;
        insert(&tx, new, actor, now).await
    })
}

async fn insert(
    tx: &Transaction,
    new: &NewUser,
    actor: &Actor,
    now: Timestamp,
) -> Result<user::Model, ServiceError> {
    let name_key = new.name.to_lowercase();
    let taken = user::Entity::find()
        .filter(user::Column::NameKey.eq(&name_key))
        .one(tx)
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
    .insert(tx)
    .await?;
    let mut account = Account::lock(tx, user.id, now).await?;
    let purpose = Purpose {
        reason: Some("first balance".into()),
        ..Purpose::default()
    };
    account.grant(new.credits, purpose).await?;
    let balance = account.save().await?;
    let details = json!({
        "role": new.role,
        "credits": new.credits.to_string(),
        "password": new.password_hash.is_some(),
    });
    let subject = Subject::one(user.id, &user.name);
    actor
        .record(tx, AuditAction::CreateUser, subject, details, now)
        .await?;
    Ok(user::Model {
        total: balance.total,
        ledger_entries: 1,
        ..user
    })
}

fn check(new: &NewUser) -> Result<(), UserError> {
    check_name(&new.name)?;
    if new.credits.is_negative() {
        return Err(UserError::new(
            UserErrorCode::InvalidAmount,
            "credits",
            "a first balance cannot be negative",
        ));
    }
    Ok(())
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
