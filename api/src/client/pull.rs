//! `wharfinger pull`.

use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{Job, JobKind, JobState};
use super::operations::PullImage;
use super::progress::{self, familiar};
use super::terminal::{FAINT, GOOD, Terminal};
use super::text::size;
use super::{EXIT_CODES, follow, resolve};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

/// Arguments of `wharfinger pull`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct PullArgs {
    /// The image: redis, redis:7, `ghcr.io/a/b@sha256:…`, localhost:5000/x
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The host to pull it onto, by name or id; otherwise the gateway chooses
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Print the job's id and do not wait for it
    #[arg(long, short)]
    pub detach: bool,
    /// Makes the request safe to repeat: the same key returns the same job (default: a random key)
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the job as JSON when it has ended
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Requests an image and follows the pull. Ctrl-C leaves the job running.
pub(super) async fn run(args: PullArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let job = tokio::select! {
        job = submit(&gateway, &args) => job?,
        () = &mut context.interrupt => return Err(ClientError::Interrupted(
            "Interrupted before the gateway answered. If it accepted the pull, `wharfinger jobs` lists it.".to_owned(),
        )),
    };
    let terminal = &mut context.terminal;
    if args.detach {
        return if args.json {
            terminal.json(&job)
        } else {
            terminal.line(&job.id)
        };
    }
    follow_job(&gateway, terminal, &mut context.interrupt, &job, args.json).await
}

/// Follows a pull to its end and prints its result; also for `wharfinger jobs ID --watch` and `jobs retry`.
pub(crate) async fn follow_job(
    gateway: &Gateway,
    terminal: &mut Terminal,
    interrupt: &mut (impl Future<Output = ()> + Unpin),
    job: &Job,
    json: bool,
) -> Result<(), ClientError> {
    let mut view = progress::view(terminal, job, json);
    let ended = tokio::select! {
        ended = follow::follow(gateway, job, view.as_mut()) => ended,
        () = interrupt => Err(left_running(job)),
    };
    drop(view);
    let job = ended.map_err(|error| out_of_sight(error, job))?;
    if json {
        terminal.json(&job)?;
    }
    conclude(terminal, &job, json)
}

async fn submit(gateway: &Gateway, args: &PullArgs) -> Result<Job, ClientError> {
    let host_id = match &args.host {
        Some(host) => Some(resolve::host(gateway, host).await?.id),
        None => None,
    };
    let idempotency_key = args.idempotency_key.clone().unwrap_or_else(random_key);
    let input = json!({
        "reference": args.reference, "hostId": host_id, "idempotencyKey": idempotency_key,
    });
    let variables = json!({ "input": input });
    Ok(gateway.execute::<PullImage>(&variables).await?.job)
}

/// Returns a new idempotency key, which makes repeating this request safe.
pub(crate) fn random_key() -> String {
    Uuid::new_v4().to_string()
}

/// The error of Ctrl-C while a job is followed.
pub(crate) fn left_running(job: &Job) -> ClientError {
    ClientError::Interrupted(format!(
        "The job goes on. See it with `wharfinger jobs {id}`, stop it with `wharfinger jobs cancel {id}`.",
        id = job.id
    ))
}

/// The error of a job that can no longer be followed, but was accepted.
fn out_of_sight(error: ClientError, job: &Job) -> ClientError {
    match error {
        ClientError::Unreachable { url, reason } => {
            let reason = format!(
                "{reason}. Job {id} was accepted and goes on: see `wharfinger jobs {id}`",
                id = job.id
            );
            ClientError::Unreachable { url, reason }
        }
        error => error,
    }
}

/// Prints the result of a job that has ended. Fails with the job's error.
fn conclude(terminal: &mut Terminal, job: &Job, json: bool) -> Result<(), ClientError> {
    if job.state != JobState::Succeeded {
        return Err(failure(job));
    }
    if json {
        return Ok(());
    }
    let Some(image) = job
        .image
        .as_ref()
        .filter(|_| job.kind == JobKind::PullImage)
    else {
        return terminal.line(format_args!("Job {} succeeded.", job.id));
    };
    let done = terminal.paint(GOOD, "Pulled");
    terminal.line(format_args!(
        "{done} {} on {}",
        image.familiar_name, image.host.name
    ))?;
    let digest = image
        .digest
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string);
    for (label, value) in [
        ("Digest", digest),
        ("Image ID", image.image_id.to_string()),
        ("Size", size(image.size)),
        ("Charge", format!("{} credits", image.charge)),
    ] {
        let label = terminal.paint(FAINT, format_args!("{label:<9}"));
        terminal.line(format_args!("  {label} {value}"))?;
    }
    Ok(())
}

/// Returns the error of a job that ended without success, with what to do about it.
pub(crate) fn failure(job: &Job) -> ClientError {
    let name = job
        .reference
        .as_ref()
        .map_or_else(|| job.id.to_string(), familiar);
    let why = job
        .error
        .as_ref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    ClientError::Failed(match job.state {
        JobState::Cancelled => format!("{name} was cancelled{why}"),
        JobState::Dead => format!(
            "{name} failed after {} of {} attempts{why}\nIt may work later: `wharfinger jobs retry {}`",
            job.attempt, job.max_attempts, job.id
        ),
        _ => format!("{name} failed{why}"),
    })
}
