//! Mutations. A resolver authorises, and maps the input and the result; a service of the jobs crate does the rest.

mod admin;
mod jobs;
mod registry_credentials;
mod sign_in;
mod users;

use async_graphql::MergedObject;

use admin::AdminMutation;
use jobs::JobMutation;
use registry_credentials::RegistryCredentialMutation;
use sign_in::SignInMutation;
use users::UserMutation;

/// Everything that can be changed.
#[derive(MergedObject, Default)]
pub struct Mutation(
    JobMutation,
    AdminMutation,
    RegistryCredentialMutation,
    SignInMutation,
    UserMutation,
);
