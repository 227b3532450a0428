//! The end of an attempt, and how it is recorded.

use sea_orm::ActiveEnum as _;
use wharfinger_entity::{JobErrorCode, job};

use super::JobRun;
use crate::engine_images::error::{RECORD_PAUSE, RunError};
use crate::engine_images::reconcile;
use crate::error::{JobFailure, ServiceError, Then};
use crate::infra::trace;
use crate::job::lease;
use crate::job::transition::Outcome;

/// How many attempts of a job the database may refuse to record.
const UNRECORDABLE_AT_MOST: i32 = 5;

/// The end of an attempt that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// Its own transaction stored that the job SUCCEEDED.
    Settled,
    /// Its own transaction found that the job has ended, or is another attempt's, and changed nothing.
    NotOurs,
    /// The lease was lost in the middle: another worker may have the job.
    LeaseLost,
    /// It stopped because the job's owner or an administrator asked.
    Cancelled,
    /// It stopped because its worker stops: the job goes on elsewhere.
    HandedBack,
    /// There was nothing to do any more.
    NothingToDo,
}

/// Records how an attempt ended, unless that is done or another attempt's to do.
pub(crate) async fn record(run: &JobRun, result: Result<AttemptEnd, RunError>) {
    if let Err(RunError::Failed(failure)) = &result {
        trace::failed(&tracing::Span::current(), &failure.code.to_value());
        if failure.code == JobErrorCode::EngineUnavailable {
            run.context.engine_answers.send_replace(false);
        }
    }
    let Some(outcome) = left_to_record(result) else {
        return;
    };
    // A watcher who sees that the job came to nothing finds the engine as it was. The engine may take its time.
    if is_surely_final(&outcome)
        && let Err(error) = run.with_lease(run.kind.undo(run)).await
    {
        tracing::warn!(%error, "could not undo what a job did on the engine before its end: trying again after it");
    }
    match store(run, outcome).await {
        Ok(Some(job)) if job.state.is_final() => tidy(run, &job).await,
        Ok(Some(_)) => {}
        Ok(None) => tracing::info!("the attempt has no lease any more: another attempt goes on"),
        Err(error) => {
            tracing::error!(%error, "could not record the end of an attempt: its lease will run out");
        }
    }
}

/// The outcome that is left to be recorded; none where that is done, or another attempt's to do. Logs how the attempt ended.
fn left_to_record(result: Result<AttemptEnd, RunError>) -> Option<Outcome> {
    let (message, outcome) = match result {
        Ok(AttemptEnd::Settled) => ("attempt settled", None),
        Ok(AttemptEnd::NotOurs) => (
            "attempt changed nothing: the job has ended, or is another attempt's",
            None,
        ),
        Ok(AttemptEnd::LeaseLost) => ("attempt stopped: its lease was lost", None),
        Ok(AttemptEnd::Cancelled) => (
            "attempt stopped: the job is to be cancelled",
            Some(Outcome::Cancelled),
        ),
        Ok(AttemptEnd::HandedBack) => ("attempt handed back", Some(Outcome::HandedBack)),
        Ok(AttemptEnd::NothingToDo) => ("attempt found nothing to do", Some(Outcome::NothingToDo)),
        Err(RunError::Failed(failure)) => {
            tracing::warn!(code = failure.code.to_value(), reason = %failure.message, "attempt failed");
            return Some(Outcome::Failed(failure));
        }
        Err(RunError::Service(error)) if error.is_of_data() => {
            tracing::error!(%error, "what came of the attempt cannot be recorded");
            return Some(unrecordable());
        }
        Err(RunError::Service(error)) => {
            // The database's trouble is not the job's: the attempt does not count.
            tracing::error!(%error, "the attempt could not be settled");
            let message = "what came of the attempt could not be recorded";
            let failure = JobFailure::retry_free(JobErrorCode::Internal, message, RECORD_PAUSE);
            return Some(Outcome::Failed(failure));
        }
    };
    tracing::info!("{message}");
    outcome
}

/// The failure that is recorded of an attempt whose outcome the database refuses. The text is fixed: it can be recorded, and counted.
fn unrecordable() -> Outcome {
    let message = "the database refuses what came of the attempt; the log of the worker says why";
    Outcome::Failed(JobFailure::retry_free_at_most(
        UNRECORDABLE_AT_MOST,
        JobErrorCode::Internal,
        message,
        RECORD_PAUSE,
    ))
}

/// Whether the job comes to nothing with this, whatever its row says.
fn is_surely_final(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Cancelled => true,
        Outcome::Failed(failure) => failure.then == Then::Fail,
        Outcome::HandedBack | Outcome::NothingToDo => false,
    }
}

/// Stores the end of the attempt; tries again for as long as the lease lasts when the database does not answer. Returns the job,
/// or none when the lease was lost.
async fn store(run: &JobRun, mut outcome: Outcome) -> Result<Option<job::Model>, ServiceError> {
    let services = &run.context.services;
    let until = tokio::time::Instant::now() + services.settings.worker.lease;
    let mut recordable = true;
    loop {
        match lease::end(services, &run.lease, outcome.clone()).await {
            Err(error) if error.is_of_data() && recordable => {
                tracing::error!(%error, "the end of an attempt cannot be recorded as it is");
                (outcome, recordable) = (unrecordable(), false);
            }
            Err(error) if error.is_of_data() => return Err(error),
            Err(error) if tokio::time::Instant::now() < until => {
                tracing::warn!(%error, "could not record the end of an attempt: trying again");
                tokio::time::sleep(RECORD_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Leaves nothing on the engine of a job that came to nothing.
async fn tidy(run: &JobRun, job: &job::Model) {
    let (services, engine) = (&run.context.services, &run.context.engine);
    let tidied = async {
        run.kind.tidy(run, job).await?;
        match job.engine_image_id {
            Some(id) => Box::pin(reconcile::one(services, engine, id)).await,
            None => Ok(()),
        }
    };
    if let Err(error) = tidied.await {
        tracing::warn!(%error, "could not tidy up after the job: the reconciler will");
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{DbErr, RuntimeErr};

    use super::*;
    use crate::ledger::LedgerError;

    #[test]
    fn an_end_that_is_stored_or_another_attempts_is_not_recorded() {
        for (end, recorded) in [
            (AttemptEnd::Settled, None),
            (AttemptEnd::NotOurs, None),
            (AttemptEnd::LeaseLost, None),
            (AttemptEnd::Cancelled, Some("Cancelled")),
            (AttemptEnd::HandedBack, Some("HandedBack")),
            (AttemptEnd::NothingToDo, Some("NothingToDo")),
        ] {
            let outcome = left_to_record(Ok(end)).map(|outcome| format!("{outcome:?}"));
            assert_eq!(outcome.as_deref(), recorded, "{end:?}");
        }
    }

    fn failure(error: RunError) -> JobFailure {
        match left_to_record(Err(error)) {
            Some(Outcome::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_trouble_of_the_database_uses_up_no_attempt() {
        let denied = JobFailure::fail(JobErrorCode::RegistryDenied, "denied");
        assert_eq!(failure(denied.clone().into()), denied);
        let away = DbErr::Conn(RuntimeErr::Internal("the server went away".into()));
        assert_eq!(failure(away.into()).then, Then::RetryFree(RECORD_PAUSE));
        let refused = ServiceError::Ledger(LedgerError::Overflow);
        let at_most = Then::RetryFreeAtMost {
            times: UNRECORDABLE_AT_MOST,
            after: RECORD_PAUSE,
        };
        assert_eq!(failure(refused.into()).then, at_most);
    }

    #[test]
    fn only_what_ends_the_job_for_sure_is_undone_before_it_is_recorded() {
        let failed = |failure| is_surely_final(&Outcome::Failed(failure));
        let code = JobErrorCode::Internal;
        assert!(is_surely_final(&Outcome::Cancelled));
        assert!(failed(JobFailure::fail(code, "")));
        assert!(!failed(JobFailure::retry(code, "")));
        assert!(!is_surely_final(&Outcome::HandedBack));
        assert!(!is_surely_final(&Outcome::NothingToDo));
    }
}
