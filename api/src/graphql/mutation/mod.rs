//! What can be done. The services do it; here is only who may, and what is answered. One file for each subject.

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

/// What can be done.
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
