//! Shows the progress of a pull: bars on a terminal, a line for each change in a pipe, or nothing.

use super::error::ClientError;
use super::model::{Job, JobState, LayerState, PullPhase, PullProgress};
use super::progress_bars::Bars;
use super::terminal::Terminal;
use super::text::{Text, short_id, size};
use std::collections::HashSet;
use wharfinger_entity::ImageReference;

/// A view of progress. It ends when it is dropped, so that other output can follow.
pub(crate) trait ProgressView {
    /// Shows a newer state.
    fn update(&mut self, _: &PullProgress) -> Result<(), ClientError> {
        Ok(())
    }
    /// Shows a message about the connection.
    fn note(&mut self, _: &str) -> Result<(), ClientError> {
        Ok(())
    }
}

/// Returns the view for the terminal.
pub(crate) fn view<'a>(
    terminal: &'a mut Terminal,
    job: &Job,
    json: bool,
) -> Box<dyn ProgressView + 'a> {
    let name = job.reference.clone().unwrap_or_else(|| job.id.clone());
    if let Some(target) = terminal.bars(json) {
        return Box::new(Bars::new(target, &familiar(&name), terminal.colour()));
    }
    if json {
        Box::new(Silent)
    } else {
        Box::new(Lines {
            terminal,
            name: familiar(&name),
            activity: String::new(),
            attempt: 0,
            complete: HashSet::new(),
        })
    }
}

/// Returns a reference in its short form, without Docker Hub's prefix.
pub(crate) fn familiar(reference: &Text) -> String {
    ImageReference::parse(reference.raw())
        .map_or_else(|_| reference.to_string(), |reference| reference.familiar())
}

/// Returns the name of the current step, depending on the job's state.
pub(crate) fn activity(progress: &PullProgress) -> String {
    match (&progress.state, &progress.phase) {
        (JobState::Queued, _) => "waiting for its turn".to_owned(),
        (JobState::Retrying, _) => {
            format!("attempt {} failed, waiting to try again", progress.attempt)
        }
        (JobState::Failed | JobState::Dead | JobState::Cancelled, _) => {
            progress.state.to_string().to_lowercase()
        }
        (_, PullPhase::Waiting) => "waiting".to_owned(),
        (_, PullPhase::Resolving) => "reading the manifest".to_owned(),
        (_, PullPhase::Downloading) => "downloading".to_owned(),
        (_, PullPhase::Extracting) => "extracting".to_owned(),
        (_, PullPhase::Settling) => "settling the charge".to_owned(),
        (_, PullPhase::Done) => "done".to_owned(),
        (_, PullPhase::Other(other)) => other.to_string().to_lowercase(),
    }
}

/// Shows nothing: a removal has no progress, or stdout is for JSON and stderr is no terminal.
pub(crate) struct Silent;

impl ProgressView for Silent {}

/// Prints a line for each step and each complete layer.
struct Lines<'a> {
    terminal: &'a mut Terminal,
    name: String,
    activity: String,
    attempt: u32,
    complete: HashSet<Text>,
}

impl ProgressView for Lines<'_> {
    fn update(&mut self, progress: &PullProgress) -> Result<(), ClientError> {
        if progress.attempt != self.attempt {
            self.attempt = progress.attempt;
            // Another attempt fetches its layers again.
            self.complete.clear();
        }
        let activity = activity(progress);
        if activity != self.activity {
            let what = match (&progress.phase, progress.total) {
                (PullPhase::Downloading, Some(total)) if progress.state == JobState::Running => {
                    format!(
                        "{activity} {} in {} layers",
                        size(total),
                        progress.layers.len()
                    )
                }
                _ => activity.clone(),
            };
            self.terminal.line(format_args!("{}: {what}", self.name))?;
            self.activity = activity;
        }
        for layer in &progress.layers {
            let how = match layer.state {
                LayerState::Done => "complete",
                LayerState::Reused => "already there",
                _ => continue,
            };
            if self.complete.insert(layer.id.clone()) {
                let bytes = layer
                    .total
                    .map(|total| format!(" ({})", size(total)))
                    .unwrap_or_default();
                self.terminal
                    .line(format_args!("{}: {how}{bytes}", short_id(&layer.id)))?;
            }
        }
        Ok(())
    }

    fn note(&mut self, note: &str) -> Result<(), ClientError> {
        self.terminal.note(note);
        Ok(())
    }
}
