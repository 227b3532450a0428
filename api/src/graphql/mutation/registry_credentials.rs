//! Logins at private registries: saved and deleted by their users.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::registry_credentials::{
    SaveRegistryCredential, delete_registry_credential, save_registry_credential,
};
use wharfinger_jobs::settings::Secret;

use crate::graphql::context::{caller, outcome, problems, services};
use crate::graphql::ids::Kind;
use crate::graphql::types::{RegistryCredential, UserError};

/// Logins at private registries: saved and deleted by their users.
#[derive(Default)]
pub(super) struct RegistryCredentialMutation;

/// A login to store.
#[derive(InputObject)]
pub(crate) struct SaveRegistryCredentialInput {
    /// The registry's host as in references, with its port if it has one: ghcr.io, registry.example:5000; docker.io for Docker Hub.
    registry: String,
    /// The user name there.
    username: String,
    /// The password or access token. Never readable again.
    #[graphql(secret)]
    secret: String,
}

/// The result of `saveRegistryCredential`.
#[derive(SimpleObject)]
pub(crate) struct SaveRegistryCredentialPayload {
    /// The login, without its secret; null if it was not saved.
    registry_credential: Option<RegistryCredential>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// A login to delete.
#[derive(InputObject)]
pub(crate) struct DeleteRegistryCredentialInput {
    /// The login.
    registry_credential_id: ID,
}

/// The result of `deleteRegistryCredential`.
#[derive(SimpleObject)]
pub(crate) struct DeleteRegistryCredentialPayload {
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

#[Object]
impl RegistryCredentialMutation {
    /// Store a login for a private registry, encrypted. The secret is never readable again. It replaces the viewer's
    /// earlier login there. It is shown to that registry only, for the viewer's own pulls of images that the registry does
    /// not give without a login. UNAVAILABLE where no encryption key is set.
    async fn save_registry_credential(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where, who, and the secret.")] input: SaveRegistryCredentialInput,
    ) -> Result<SaveRegistryCredentialPayload> {
        let request = SaveRegistryCredential {
            user_id: caller(ctx)?.user.id,
            registry: input.registry,
            username: input.username,
            secret: Secret::new(input.secret),
        };
        let saved = save_registry_credential(services(ctx), &request).await;
        let (registry_credential, user_errors) = outcome(saved)?;
        Ok(SaveRegistryCredentialPayload {
            registry_credential,
            user_errors,
        })
    }

    /// Delete a login of the viewer. Attempts that begin from now on do not use it.
    async fn delete_registry_credential(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which login.")] input: DeleteRegistryCredentialInput,
    ) -> Result<DeleteRegistryCredentialPayload> {
        let user_id = caller(ctx)?.user.id;
        let id = Kind::RegistryCredential.parse(&input.registry_credential_id);
        let deleted = delete_registry_credential(services(ctx), user_id, id).await;
        let user_errors = problems(deleted)?;
        Ok(DeleteRegistryCredentialPayload { user_errors })
    }
}
