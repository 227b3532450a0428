//! Prints jobs.

use super::error::ClientError;
use super::model::{Image, Job, JobError, JobKind, JobState, PullProgress};
use super::progress::{activity, familiar};
use super::table;
use super::terminal::{BAD, FAINT, GOOD, NOTICE, Terminal};
use super::text::{Text, age, size};
use anstyle::Style;
use chrono::{DateTime, Utc};

const COLUMNS: [&str; 8] = [
    "id",
    "kind",
    "reference",
    "host",
    "state",
    "attempt",
    "error",
    "age",
];

/// Prints a table of jobs.
pub(crate) fn list(terminal: &mut Terminal, jobs: &[Job]) -> Result<(), ClientError> {
    let now = Utc::now();
    let or_dash = |text: Option<&Text>| text.map_or("-".to_owned(), Text::to_string);
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            kind(job),
            reference(job),
            or_dash(job.host.as_ref().map(|host| &host.name)),
            job.state.to_string(),
            attempts(job),
            or_dash(job.error.as_ref().map(|error| &error.code)),
            age(job.created_at, now),
        ]
    });
    table::print(terminal, &COLUMNS, rows)
}

/// Prints a change of a job, on one line.
pub(crate) fn update(terminal: &mut Terminal, job: &Job, json: bool) -> Result<(), ClientError> {
    if json {
        return terminal.json(job);
    }
    let state = terminal.paint(colour(&job.state), format_args!("{:<9}", job.state));
    let what = reference(job);
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
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let unfinished = job.progress.as_ref().filter(|_| !job.state.is_final());
    let state = terminal.paint(colour(&job.state), &job.state);
    let lines = [
        ("Job", Some(job.id.to_string())),
        ("Kind", Some(kind(job))),
        ("State", Some(state)),
        ("Attempt", Some(attempts(job))),
        ("Held", Some(format!("{} credits", job.held))),
        ("Created", Some(time(job.created_at))),
        ("Reference", job.reference.as_ref().map(Text::to_string)),
        ("Host", job.host.as_ref().map(|host| host.name.to_string())),
        ("Started", job.started_at.map(time)),
        ("Finished", job.finished_at.map(time)),
        ("Next try", job.next_attempt_at.map(time)),
        ("Error", job.error.as_ref().map(JobError::to_string)),
        ("Progress", unfinished.map(so_far)),
        ("Image", job.image.as_ref().map(of_image)),
    ];
    for (label, value) in lines {
        if let Some(value) = value {
            let label = terminal.paint(FAINT, format_args!("{label:<10}"));
            terminal.line(format_args!("{label} {value}"))?;
        }
    }
    Ok(())
}

fn so_far(progress: &PullProgress) -> String {
    let of_total = progress
        .total
        .map(|total| format!(" of {}", size(total)))
        .unwrap_or_default();
    let downloaded = size(progress.downloaded);
    format!("{}, {downloaded}{of_total}", activity(progress))
}

fn of_image(image: &Image) -> String {
    let (id, size, charge) = (&image.image_id, size(image.size), &image.charge);
    format!("{id}, {size}, {charge} credits")
}

/// The verb of the job's kind, or the command that asks for it where that has another name.
fn kind(job: &Job) -> String {
    if job.kind == JobKind::RemoveImage {
        return "rm".to_owned();
    }
    let name = job.kind.to_string().to_lowercase();
    name.split('_').next().unwrap_or_default().to_owned()
}

fn reference(job: &Job) -> String {
    job.reference.as_ref().map(familiar).unwrap_or_default()
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
