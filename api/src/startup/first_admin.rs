//! Creates the first administrator of an empty database, from the settings.

use anyhow::{Context as _, ensure};
use wharfinger_entity::Role;
use wharfinger_jobs::accounts::{NewUser, create_first_admin, is_empty, weakness};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::services::Services;

use crate::config::Config;

/// Creates the administrator that `admin.name` names, if there is no user yet. The password file is read only then. Fails
/// where it cannot be read, or the database does not answer.
pub(crate) async fn make(config: &Config, services: &Services) -> anyhow::Result<()> {
    let (Some(name), Some(file)) = (&config.admin.name, &config.admin.password_file) else {
        return Ok(());
    };
    if !is_empty(&services.db)
        .await
        .context("cannot look for users")?
    {
        return Ok(());
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read admin.password_file {}", file.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(
        !password.is_empty(),
        "admin.password_file {} is empty",
        file.display()
    );
    if let Some(weakness) = weakness(password, name) {
        tracing::warn!("admin.password_file: {weakness}");
    }
    let hash = services.passwords.hash(password).await;
    let new = NewUser {
        name: name.clone(),
        role: Role::Admin,
        password_hash: Some(hash.context("cannot hash the password of admin.password_file")?),
        credits: config.credits.initial,
    };
    let made = create_first_admin(&services.db, &new, services.clock.now()).await;
    match made {
        Ok(Some(user)) => tracing::info!(name = user.name, "made the first administrator"),
        Ok(None) => {}
        Err(ServiceError::Rejected(error)) => anyhow::bail!("admin.name: {error}"),
        Err(error) => return Err(error).context("cannot make the first administrator"),
    }
    Ok(())
}
