//! The trait of a kind of job: the parts of a job's life in which kinds differ.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::Span;
use wharfinger_entity::{JobErrorCode, job};

use super::{AttemptEnd, JobRun};
use crate::engine_images::error::{ReconcileError, RunError};
use crate::error::{JobFailure, ServiceError};
use crate::infra::db::Transaction;
use crate::job::transition::Outcome;
use crate::ledger::Account;
use crate::services::Services;

/// A kind of job. `crate::kinds` registers it.
#[async_trait]
pub(crate) trait Job: Send + Sync {
    /// The span of an attempt, as `infra::trace::attempt_span` makes it: `job.` and the kind's name.
    fn span(&self) -> Span;

    /// Runs one attempt. What it settled itself is committed when it returns.
    async fn run(&self, run: &Arc<JobRun>) -> Result<AttemptEnd, RunError>;

    /// Does what a retry means for this kind, inside the transaction that accepts the job anew: refuses it, counts it, holds
    /// credits, and sets columns of `retry.again`.
    async fn accept_again(&self, retry: Retry<'_, '_>) -> Result<(), ServiceError>;

    /// How a job that waits for a host ends when the host is given up. `reason` is for its owner.
    fn when_host_is_lost(&self, reason: String) -> Outcome {
        Outcome::Failed(JobFailure::fail(JobErrorCode::HostUnavailable, reason))
    }

    /// Why this job, which has not ended, cannot be cancelled any more; none if it can.
    fn refuses_to_stop(&self, _job: &job::Model) -> Option<&'static str> {
        None
    }

    /// Whether a renewal of the lease saves the progress of the attempt with the job.
    fn saves_progress(&self) -> bool {
        false
    }

    /// Undoes on the engine what must not be seen any more when the job is seen to have come to nothing.
    async fn undo(&self, _run: &JobRun) -> Result<(), ReconcileError> {
        Ok(())
    }

    /// Tidies up on the engine after the job has ended otherwise than by a settlement. Its image is looked after for every kind.
    async fn tidy(&self, _run: &JobRun, _ended: &job::Model) -> Result<(), ReconcileError> {
        Ok(())
    }
}

/// A job that is being accepted anew. Its row is locked in `tx`.
pub(crate) struct Retry<'a, 't> {
    pub(crate) tx: &'a Transaction,
    pub(crate) services: &'a Services,
    /// As it ended.
    pub(crate) job: &'a job::Model,
    /// Its user's.
    pub(crate) account: &'a mut Account<'t>,
    pub(crate) limits: Limits,
    /// As it will be stored.
    pub(crate) again: &'a mut job::ActiveModel,
}

/// Whether an acceptance counts against what its user may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// It does: the user asks.
    OfTheUser,
    /// An administrator asks.
    Waived,
}
