//! A login at a registry.

use async_graphql::{ID, SimpleObject};
use wharfinger_entity::registry_credential;

use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;

/// A user's login at a private registry, used for that user's pulls from there only. Its secret is never shown again.
#[derive(SimpleObject, Clone)]
pub(crate) struct RegistryCredential {
    /// Its id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// The registry's host, with its port if it has one of its own; docker.io for Docker Hub under any of its names.
    registry: String,
    /// The user name there.
    username: String,
    /// When it was saved, or last replaced.
    created_at: DateTime,
}

impl From<registry_credential::Model> for RegistryCredential {
    fn from(login: registry_credential::Model) -> Self {
        Self {
            id: Kind::RegistryCredential.id(login.id),
            registry: login.registry,
            username: login.username,
            created_at: login.created_at.into(),
        }
    }
}
