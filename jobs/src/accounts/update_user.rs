//! `updateUser`: another role, a ban or its end, a new password.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder,
};
use serde_json::{Map, json};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Role, UserStatus, user};

use super::{is_active_administrator, no_such_user, tokens};
use crate::accounts::audit::{Actor, Subject};
use crate::accounts::password_strength::hash_strong;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{Transaction, for_update, in_transaction};
use crate::live::notify;
use crate::services::Services;

/// Changes of a user by an administrator. A field without a value stays as it is.
#[derive(Default)]
pub struct UpdateUser<'a> {
    /// The user; none when the id given was not even one of a user.
    pub user_id: Option<Uuid>,
    /// The role.
    pub role: Option<Role>,
    /// Active or banned.
    pub status: Option<UserStatus>,
    /// A new password.
    pub password: Option<&'a str>,
    /// The token that the administrator called with: it stays when they change their own password.
    pub token_id: Option<Uuid>,
}

/// Changes a user. Refuses to demote or ban the last active administrator, also when two requests try at once.
///
/// A ban ends the tokens that signing in made; those with a name stop working until it is lifted. The user's jobs go on
/// to their end. A new password ends the tokens that signing in made.
pub async fn update_user(
    services: &Services,
    actor: &Actor,
    change: &UpdateUser<'_>,
) -> Result<user::Model, ServiceError> {
    if change.role.is_none() && change.status.is_none() && change.password.is_none() {
        return Err(UserError::whole(
            UserErrorCode::InvalidInput,
            "nothing to change: give a role, a status or a password",
        )
        .into());
    }
    let password_hash = new_hash(services, change).await?;
    let (user, changed) = in_transaction!(services.db, |tx| {
        let administrators = administrators(&tx).await?;
        let user = find(&tx, change.user_id).await?;
        let next = user::Model {
            role: change.role.unwrap_or(user.role),
            status: change.status.unwrap_or(user.status),
            password_hash: password_hash.clone().or(user.password_hash.clone()),
            ..user.clone()
        };
        let others = administrators.iter().any(|other| other.id != user.id);
        if is_active_administrator(&user) && !is_active_administrator(&next) && !others {
            Err(last_administrator(next.role == Role::Admin))?;
        }
        if let Some(id) = actor.user_id()
            && !administrators.iter().any(|other| other.id == id)
        {
            Err(ServiceError::NotAllowed(
                "only an administrator may do this",
            ))?;
        }
        if next == user {
            return Ok((user, false));
        }
        let (banned, password) = (
            next.status == UserStatus::Banned && user.status == UserStatus::Active,
            next.password_hash != user.password_hash,
        );
        if banned || password {
            let keep = change.token_id.filter(|_| !banned);
            tokens::end_sign_ins(&tx, user.id, keep).await?;
        }
        let mut row = user.clone().into_active_model();
        row.role = Set(next.role);
        row.status = Set(next.status);
        row.password_hash = Set(next.password_hash.clone());
        row.update(&tx).await?;
        let (action, subject) = (AuditAction::UpdateUser, Subject::one(user.id, &user.name));
        let (details, now) = (details(&user, &next), services.clock.now());
        actor.record(&tx, action, subject, details, now).await?;
        Ok::<_, ServiceError>((next, true))
    })?;
    if changed {
        notify::access_changed(&services.events, user.id);
    }
    Ok(user)
}

async fn new_hash(
    services: &Services,
    change: &UpdateUser<'_>,
) -> Result<Option<String>, ServiceError> {
    let Some(password) = change.password else {
        return Ok(None);
    };
    let user = match change.user_id {
        Some(id) => user::Entity::find_by_id(id).one(services.db.read()).await?,
        None => None,
    };
    let name = user.ok_or_else(no_such_user)?.name;
    let hash = hash_strong(&services.passwords, password, &name, "password").await?;
    Ok(Some(hash))
}

/// Every active administrator, locked in the order of their ids: two requests that demote administrators wait for each
/// other.
async fn administrators(tx: &Transaction) -> Result<Vec<user::Model>, DbErr> {
    let active = user::Entity::find()
        .filter(user::Column::Role.eq(Role::Admin))
        .filter(user::Column::Status.eq(UserStatus::Active))
        .order_by_asc(user::Column::Id);
    for_update(tx, active).all(tx).await
}

async fn find(tx: &Transaction, id: Option<Uuid>) -> Result<user::Model, ServiceError> {
    let id = id.ok_or_else(no_such_user)?;
    let user = for_update(tx, user::Entity::find_by_id(id)).one(tx).await?;
    Ok(user.ok_or_else(no_such_user)?)
}

/// The changed fields for the audit log, without the password.
fn details(before: &user::Model, after: &user::Model) -> serde_json::Value {
    let mut details = Map::new();
    if before.role != after.role {
        details.insert("role".into(), json!(after.role));
    }
    if before.status != after.status {
        details.insert("status".into(), json!(after.status));
    }
    if before.password_hash != after.password_hash {
        details.insert("password".into(), json!(true));
    }
    details.into()
}

fn last_administrator(banned: bool) -> UserError {
    UserError::new(
        UserErrorCode::InvalidInput,
        if banned { "status" } else { "role" },
        "this is the last active administrator: make another user one first",
    )
}
