//! The host's record: online while its engine answers.

use std::time::Duration;

use super::Worker;
use crate::hosts;
use crate::infra::tasks::Task;

/// Time until a silent engine is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Worker {
    /// Beats until dropped: six times in the time after which a host counts as offline, more often while the engine is silent.
    pub(super) async fn keep_beating(&self, task: &Task) {
        let pause = self.pause();
        let mut answers = self.context.engine_answers.subscribe();
        loop {
            let silent = !*answers.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep(if silent { RETRY_PAUSE.min(pause) } else { pause }) => {}
                // A job found the engine silent: ask it at once, and again soon.
                changed = answers.changed() => if changed.is_err() { return },
            }
            self.beat().await;
            task.passed();
        }
    }

    fn pause(&self) -> Duration {
        (self.context.services.settings.host.offline_after / 6).max(Duration::from_millis(200))
    }

    /// How long a heartbeat may take, with the pause before it: the engine and the database each have a deadline.
    pub(super) fn longest_beat(&self) -> Duration {
        self.pause() + Duration::from_mins(1)
    }

    /// Asks the engine who it is, and records that it answered.
    pub(super) async fn beat(&self) {
        let context = &self.context;
        let services = &context.services;
        match context.engine.info().await {
            Ok(info) => {
                if let Err(error) = hosts::heartbeat(
                    &services.db,
                    self.host_id,
                    &services.settings.worker,
                    &info,
                    services.clock.now(),
                )
                .await
                {
                    tracing::warn!(%error, "could not record the heartbeat");
                }
                self.info.send_replace(Some(info));
                if !context.engine_answers.send_replace(true) {
                    tracing::info!(host = %context.host, "the engine answers");
                }
            }
            Err(error) => {
                if context.engine_answers.send_replace(false) {
                    tracing::warn!(host = %context.host, %error, "the engine does not answer: taking no jobs until it does");
                }
            }
        }
    }
}
