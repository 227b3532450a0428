//! Prints jobs.

use super::error::ClientError;
use super::model::{Job, JobKind, JobState};
use super::progress::{activity, familiar};
use super::table;
use super::terminal::{BAD, FAINT, GOOD, NOTICE, Terminal};
use super::text::{age, size};
use anstyle::Style;
use chrono::{DateTime, Utc};

/// Prints a table of jobs.
pub(crate) fn list(terminal: &mut Terminal, jobs: &[Job]) -> Result<(), ClientError> {
    let now = Utc::now();
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.to_string(),
            kind(job).to_owned(),
            job.reference.as_ref().map(familiar).unwrap_or_default(),
            job.host
                .as_ref()
                .map_or_else(|| "-".to_owned(), |host| host.name.to_string()),
            job.state.to_string(),
            attempts(job),
            job.error
                .as_ref()
                .map_or_else(|| "-".to_owned(), |error| error.code.to_string()),
            age(job.created_at, now),
        ]
    });
    table::print(
        terminal,
        &[
            "ID",
            "KIND",
            "REFERENCE",
            "HOST",
            "STATE",
            "ATTEMPT",
            "ERROR",
            "AGE",
        ],
        rows.collect(),
    )
}

/// Prints a change of a job, on one line.
pub(crate) fn update(terminal: &mut Terminal, job: &Job, json: bool) -> Result<(), ClientError> {
    if json {
        return terminal.json(job);
    }
    let state = terminal.paint(colour(&job.state), format_args!("{:<9}", job.state));
    let what = job.reference.as_ref().map(familiar).unwrap_or_default();
    let why = job
        .error
        .as_ref()
        .map(|error| format!("  {}", error.code))
        .unwrap_or_default();
    terminal.line(format_args!(
        "{}  {}  {what}  {state}  {}{why}",
        job.id,
        kind(job),
        attempts(job)
    ))
}

/// Prints everything about one job.
pub(crate) fn details(terminal: &mut Terminal, job: &Job) -> Result<(), ClientError> {
    let time = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut lines = vec![
        ("Job", job.id.to_string()),
        ("Kind", kind(job).to_owned()),
        ("State", terminal.paint(colour(&job.state), &job.state)),
        ("Attempt", attempts(job)),
        ("Held", format!("{} credits", job.held)),
        ("Created", time(&job.created_at)),
    ];
    lines.extend(
        job.reference
            .as_ref()
            .map(|reference| ("Reference", reference.to_string())),
    );
    lines.extend(
        job.host
            .as_ref()
            .map(|host| ("Host", host.name.to_string())),
    );
    lines.extend(job.started_at.as_ref().map(|at| ("Started", time(at))));
    lines.extend(job.finished_at.as_ref().map(|at| ("Finished", time(at))));
    lines.extend(
        job.next_attempt_at
            .as_ref()
            .map(|at| ("Next try", time(at))),
    );
    lines.extend(
        job.error
            .as_ref()
            .map(|error| ("Error", format!("{} ({})", error.message, error.code))),
    );
    if !job.state.is_final() {
        lines.extend(job.progress.as_ref().map(|progress| {
            let of_total = progress
                .total
                .map(|total| format!(" of {}", size(total)))
                .unwrap_or_default();
            (
                "Progress",
                format!(
                    "{}, {}{of_total}",
                    activity(progress),
                    size(progress.downloaded)
                ),
            )
        }));
    }
    lines.extend(job.image.as_ref().map(|image| {
        (
            "Image",
            format!(
                "{}, {}, {} credits",
                image.image_id,
                size(image.size),
                image.charge
            ),
        )
    }));
    for (label, value) in lines {
        let label = terminal.paint(FAINT, format_args!("{label:<10}"));
        terminal.line(format_args!("{label} {value}"))?;
    }
    Ok(())
}

fn kind(job: &Job) -> &'static str {
    match job.kind {
        JobKind::PullImage => "pull",
        JobKind::RemoveImage => "rm",
        JobKind::Other(_) => "other",
    }
}

fn attempts(job: &Job) -> String {
    format!("{}/{}", job.attempt, job.max_attempts)
}

fn colour(state: &JobState) -> Style {
    match state {
        JobState::Succeeded => GOOD,
        JobState::Failed | JobState::Dead => BAD,
        JobState::Queued | JobState::Retrying | JobState::Cancelled => NOTICE,
        JobState::Running | JobState::Other(_) => Style::new(),
    }
}
