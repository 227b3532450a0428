//! What can be done. The services do it; here is only who may, and what is answered. One file for each subject.

mod jobs;

use async_graphql::MergedObject;

use jobs::JobMutation;

/// What can be done.
#[derive(MergedObject, Default)]
pub struct Mutation(JobMutation);
