//! Follows a job until it ends, over lost connections.

use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{Job, JobKind, JobState, PullProgress};
use super::operations::{self, PullProgressSubscription};
use super::progress::ProgressView;
use super::socket::{SocketError, Subscription};
use serde_json::json;
use std::time::Instant;

/// Sockets in a row without an event after which the job is only polled.
const FRUITLESS_SOCKETS: u32 = 3;

/// Follows a job to its end and returns it. Progress of a pull comes by subscription; without a WebSocket, and for other
/// jobs, the job is polled. Fails where the gateway was unreachable for [`Pace::out_of_contact`](super::Pace).
pub(crate) async fn follow(
    gateway: &Gateway,
    job: &Job,
    view: &mut dyn ProgressView,
) -> Result<Job, ClientError> {
    let id = job.id.raw();
    let mut follower = Follower {
        gateway,
        id,
        view,
        last_sequence: None,
        explained: None,
    };
    let mut fruitless = if job.kind == JobKind::PullImage {
        0
    } else {
        FRUITLESS_SOCKETS
    };
    let (mut contact, mut failures) = (Instant::now(), 0);
    loop {
        if fruitless < FRUITLESS_SOCKETS {
            let before = follower.last_sequence;
            match follower.stream().await {
                Ok(()) => fruitless += 1, // Complete: the job has ended, or the gateway is going away.
                Err(SocketError::Lost(reason)) => {
                    fruitless += 1;
                    follower.view.note(&format!("{reason}; reconnecting"))?;
                }
                Err(SocketError::Unsupported(reason)) => {
                    fruitless = FRUITLESS_SOCKETS;
                    follower
                        .view
                        .note(&format!("{reason}; asking every so often instead"))?;
                }
                Err(SocketError::Refused(error)) => return Err(*error),
            }
            if follower.last_sequence != before {
                fruitless = fruitless.min(1);
                (contact, failures) = (Instant::now(), 0);
            }
        }
        match operations::job(gateway, id).await {
            Ok(job) => {
                if let Some(progress) = &job.progress {
                    follower.show(progress)?;
                }
                if job.state.is_final() {
                    return Ok(job);
                }
                (contact, failures) = (Instant::now(), 0);
            }
            Err(error) if error.may_pass() && contact.elapsed() < gateway.pace.out_of_contact => {
                failures += 1;
            }
            Err(error) => return Err(error),
        }
        let wait = if failures > 0 || fruitless < FRUITLESS_SOCKETS {
            gateway.pace.delay(failures.max(1))
        } else {
            gateway.pace.poll
        };
        tokio::time::sleep(wait).await;
    }
}

struct Follower<'a> {
    gateway: &'a Gateway,
    id: &'a str,
    view: &'a mut dyn ProgressView,
    last_sequence: Option<i64>,
    /// The failed attempt that was explained last.
    explained: Option<u32>,
}

impl Follower<'_> {
    /// Shows the events of one subscription.
    async fn stream(&mut self) -> Result<(), SocketError> {
        let variables = json!({ "jobId": self.id });
        let mut subscription =
            Subscription::<PullProgressSubscription>::start(self.gateway, &variables).await?;
        while let Some(progress) = subscription.next().await? {
            self.show(&progress)?;
            self.explain(&progress).await?;
            if progress.state.is_final() {
                break;
            }
        }
        Ok(())
    }

    /// Prints once why an attempt failed. Progress does not say why, so the job is read; without an answer nothing is
    /// printed.
    async fn explain(&mut self, progress: &PullProgress) -> Result<(), ClientError> {
        if progress.state != JobState::Retrying || self.explained == Some(progress.attempt) {
            return Ok(());
        }
        self.explained = Some(progress.attempt);
        if let Ok(Job {
            error: Some(error), ..
        }) = operations::job(self.gateway, self.id).await
        {
            self.view
                .note(&format!("attempt {}: {error}", progress.attempt))?;
        }
        Ok(())
    }

    /// Shows a state that is newer than the last one. A new subscription, and each poll, begins with the current state.
    fn show(&mut self, progress: &PullProgress) -> Result<(), ClientError> {
        if self
            .last_sequence
            .is_some_and(|last| progress.sequence <= last)
        {
            return Ok(());
        }
        self.last_sequence = Some(progress.sequence);
        self.view.update(progress)
    }
}
