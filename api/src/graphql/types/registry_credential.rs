//! A login at a registry.

use async_graphql::{ID, Object};
use wharfinger_entity::registry_credential;

use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;

/// A user's login at a private registry, used for that user's pulls from there only. Its secret is never shown again.
#[derive(Clone)]
pub(crate) struct RegistryCredential(pub(crate) registry_credential::Model);

impl From<registry_credential::Model> for RegistryCredential {
    fn from(login: registry_credential::Model) -> Self {
        Self(login)
    }
}

/// A user's login at a private registry, used for that user's pulls from there only. Its secret is never shown again.
#[Object]
impl RegistryCredential {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::RegistryCredential.id(self.0.id)
    }

    /// The registry's host, with its port if it has one of its own; docker.io for Docker Hub under any of its names.
    async fn registry(&self) -> &str {
        &self.0.registry
    }

    /// The user name there.
    async fn username(&self) -> &str {
        &self.0.username
    }

    /// When it was saved, or last replaced.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}
