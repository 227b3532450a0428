//! Mutations, in a file for each subject. A resolver authorises, and maps the input and the result; a service of the jobs
//! crate does the rest.

mod hosts;
mod images;
mod jobs;
mod queues;
mod registry_credentials;
mod sign_in;
mod tokens;
mod users;

use async_graphql::MergedObject;

use hosts::HostMutation;
use images::ImageMutation;
use jobs::JobMutation;
use queues::QueueMutation;
use registry_credentials::RegistryCredentialMutation;
use sign_in::SignInMutation;
use tokens::TokenMutation;
use users::UserMutation;

/// Everything that can be changed.
#[derive(MergedObject, Default)]
pub struct Mutation(
    JobMutation,
    ImageMutation,
    HostMutation,
    QueueMutation,
    RegistryCredentialMutation,
    SignInMutation,
    TokenMutation,
    UserMutation,
);
