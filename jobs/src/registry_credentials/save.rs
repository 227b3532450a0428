//! `saveRegistryCredential`.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

use super::owner;
use crate::accounts::still_active;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::ledger::Account;
use crate::registry::canonical_name;
use crate::services::Services;
use crate::settings::Secret;

/// Longest name of a registry, and of a user there, in characters.
const MAX_NAME: usize = 255;

/// Longest secret, in bytes: some registries take a JSON document with a private key in it.
const MAX_SECRET: usize = 16 * 1024;

/// Logins of one user.
const MAX_LOGINS: u64 = 100;

/// A login to be kept.
#[derive(Clone, Debug)]
pub struct SaveRegistryCredential {
    /// Whose.
    pub user_id: Uuid,
    /// `host[:port]`, as in references.
    pub registry: String,
    /// User name there.
    pub username: String,
    /// Password or access token.
    pub secret: Secret,
}

/// Keeps a login, encrypted, in place of the one that the user had for this registry. Nothing tries it: whether it is
/// right shows at the first pull.
pub async fn save_registry_credential(
    services: &Services,
    request: &SaveRegistryCredential,
) -> Result<registry_credential::Model, ServiceError> {
    let registry = check(services, request)?;
    let keys = services.keys.as_deref().ok_or(ServiceError::Unavailable(
        "logins at registries cannot be saved here: an administrator has to set secret_key first",
    ))?;
    let (user_id, username) = (request.user_id, request.username.as_str());
    let sealed = keys.seal(
        &owner(user_id, &registry, username),
        request.secret.expose(),
    );
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        // The user's row is the lock: two requests cannot both be the last that fits.
        let account = Account::lock(&tx, user_id, now).await?;
        still_active(account.user())?;
        let of_user = registry_credential::Entity::find()
            .filter(registry_credential::Column::UserId.eq(user_id));
        let old = of_user
            .clone()
            .filter(registry_credential::Column::Registry.eq(&registry))
            .one(&tx)
            .await?;
        let mut row = if let Some(old) = old {
            old.into_active_model()
        } else {
            if of_user.count(&tx).await? >= MAX_LOGINS {
                Err(invalid(
                    "registry",
                    format!("you have {MAX_LOGINS} logins, which is the most: delete one first"),
                ))?;
            }
            registry_credential::ActiveModel {
                user_id: Set(user_id),
                registry: Set(registry.clone()),
                ..Default::default()
            }
        };
        row.username = Set(username.to_owned());
        row.key_id = Set(sealed.key_id.clone());
        row.sealed = Set(sealed.text.clone());
        row.created_at = Set(now);
        if row.id.is_not_set() {
            row.id = Set(Uuid::now_v7());
            return Ok::<_, ServiceError>(row.insert(&tx).await?);
        }
        Ok(row.update(&tx).await?)
    })
}

/// Refuses what cannot be a login. Returns the registry under the name that it is kept by.
fn check(services: &Services, request: &SaveRegistryCredential) -> Result<String, UserError> {
    let registry = request.registry.trim();
    let name = canonical_name(registry).filter(|name| name.chars().count() <= MAX_NAME);
    let name = name.ok_or_else(|| {
        invalid(
            "registry",
            format!(
                "{:?} is no registry: write its host as in references, with the port if it has one, such as ghcr.io or registry.example:5000",
                registry.chars().take(MAX_NAME).collect::<String>()
            ),
        )
    })?;
    services.rules.permits_name(&name).map_err(|refused| {
        UserError::new(
            UserErrorCode::RegistryNotAllowed,
            "registry",
            refused.to_string(),
        )
    })?;
    // RFC 7617, section 2: a colon would end the name.
    let bad = |c: char| c == ':' || c.is_control();
    let length = request.username.chars().count();
    if !(1..=MAX_NAME).contains(&length) || request.username.contains(bad) {
        return Err(invalid(
            "username",
            format!(
                "a user name has 1 to {MAX_NAME} characters, and no colon or control character among them"
            ),
        ));
    }
    let secret = request.secret.expose();
    if secret.is_empty() || secret.len() > MAX_SECRET || secret.contains('\0') {
        return Err(invalid(
            "secret",
            format!("a password or token has 1 to {MAX_SECRET} bytes, and none of them is 0"),
        ));
    }
    Ok(name)
}

fn invalid(field: &'static str, message: String) -> UserError {
    UserError::new(UserErrorCode::InvalidInput, field, message)
}
