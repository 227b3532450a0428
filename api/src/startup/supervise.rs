//! Ends a process whose background task has ended, with a message and an exit status. It would otherwise seem healthy.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use wharfinger_jobs::infra::tasks::Tasks;

use crate::startup::signals::Stop;

/// How long the rest of the process may take to end after a task ended.
const REST: Duration = Duration::from_secs(10);

/// Waits for the end of `work`, which follows `stop`. Where a background task ends before it was told to, stops the
/// process, waits for it for a bounded time, and fails with an error about the task.
pub(crate) async fn supervised(
    tasks: &Tasks,
    stop: &Stop,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut work = pin!(work);
    let early = tokio::select! {
        biased;
        early = tasks.ended_early() => early,
        done = &mut work => {
            done?;
            return tasks.early_end().map_or(Ok(()), |early| Err(early.into()));
        }
    };
    stop.at_once();
    if timeout(REST, work).await.is_err() {
        tracing::warn!("the rest of the process did not end in time");
    }
    Err(early.into())
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use wharfinger_jobs::infra::tasks::NeededBy;

    use super::*;

    #[tokio::test]
    async fn a_panicking_task_ends_the_process_with_its_message() {
        let (tasks, stop) = (Tasks::default(), Stop::default());
        let task = tasks.task("dispatcher", NeededBy::All);
        tokio::spawn(task.until(CancellationToken::new(), async { panic!("no luck") }));
        let close = stop.close.clone();
        let work = async move {
            close.cancelled().await;
            Ok(())
        };
        let ended = supervised(&tasks, &stop, work).await.unwrap_err();
        assert_eq!(
            ended.to_string(),
            "the background task \"dispatcher\" ended before it was told to: it panicked: no luck"
        );
    }

    #[tokio::test]
    async fn a_process_that_is_told_to_stop_ends_well() {
        let (tasks, stop) = (Tasks::default(), Stop::default());
        stop.at_once();
        supervised(&tasks, &stop, async { Ok(()) }).await.unwrap();
    }
}
