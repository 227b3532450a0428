//! `wharfinger jobs`.

use super::EXIT_CODES;
use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::gateway::Gateway;
use super::jobs_render::{details, list, update};
use super::model::{Job, JobState};
use super::operations::{self, CancelJob, JobUpdatedSubscription, RetryJob};
use super::pull::{follow_job, random_key};
use super::socket::{SocketError, Subscription};
use super::terminal::{GOOD, Terminal};
use super::text::Text;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::HashMap;
use std::time::Instant;

/// Reads a state to filter by.
fn state() -> impl TypedValueParser<Value = String> {
    let states = [
        "queued",
        "running",
        "retrying",
        "succeeded",
        "failed",
        "dead",
        "cancelled",
    ];
    PossibleValuesParser::new(states).map(|state| state.to_uppercase())
}

/// Arguments of `wharfinger jobs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct JobsArgs {
    /// An action on a job. Without one, jobs are shown.
    #[command(subcommand)]
    pub action: Option<JobsAction>,
    /// The jobs to show.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// Arguments of `wharfinger jobs` without a subcommand.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Show this job alone, with all that is known about it
    #[arg(value_name = "ID", conflicts_with_all = ["state", "limit"])]
    pub id: Option<String>,
    /// Only jobs in this state (may be given several times)
    #[arg(long, short, value_name = "STATE", ignore_case = true, value_parser = state())]
    pub state: Vec<String>,
    /// How many jobs to list, newest first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Go on showing what changes: with an ID until the job ends, otherwise until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
    /// Print JSON; with --watch a line for each change
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions on a job.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsAction {
    /// Stop a job that has not ended and release the credits that it holds
    Cancel(JobArgs),
    /// Run a failed, dead or cancelled job again
    Retry(JobArgs),
}

/// Arguments of `wharfinger jobs cancel` and `wharfinger jobs retry`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct JobArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Shows, watches, cancels or retries jobs.
pub(super) async fn run(args: JobsArgs, context: &mut Context) -> Result<(), ClientError> {
    match args.action {
        Some(JobsAction::Cancel(args)) => cancel(&args, context).await,
        Some(JobsAction::Retry(args)) => retry(&args, context).await,
        None => show(&args.show, context).await,
    }
}

async fn show(args: &ShowArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let terminal = &mut context.terminal;
    match &args.id {
        Some(id) => {
            let job = operations::job(&gateway, id).await?;
            if args.watch {
                follow_job(&gateway, terminal, &mut context.interrupt, &job, args.json).await
            } else if args.json {
                terminal.json(&job)
            } else {
                details(terminal, &job)
            }
        }
        None if args.watch => tokio::select! {
            result = watch(&gateway, terminal, args) => result,
            () = &mut context.interrupt => Err(ClientError::Interrupted(String::new())),
        },
        None => {
            let jobs = operations::jobs(&gateway, &args.state, args.limit).await?;
            if args.json {
                terminal.json(&jobs)
            } else {
                list(terminal, &jobs)
            }
        }
    }
}

/// Lists the jobs, then prints each change. After a lost connection it lists them again to find the changes.
async fn watch(
    gateway: &Gateway,
    terminal: &mut Terminal,
    args: &ShowArgs,
) -> Result<(), ClientError> {
    let mut seen: HashMap<Text, (JobState, u32)> = HashMap::new();
    let mut is_news = |job: &Job| {
        let now = (job.state.clone(), job.attempt);
        seen.insert(job.id.clone(), now.clone()) != Some(now)
    };
    let (mut first, mut failures, mut contact) = (true, 0, Instant::now());
    loop {
        // Subscribed before listing, so that no change is missed in between.
        let mut subscription =
            match Subscription::<JobUpdatedSubscription>::start(gateway, &json!({})).await {
                Ok(subscription) => Some(subscription),
                Err(SocketError::Refused(error)) => return Err(*error),
                Err(SocketError::Lost(_) | SocketError::Unsupported(_)) => None,
            };
        match operations::jobs(gateway, &args.state, args.limit).await {
            Ok(jobs) => {
                if first && !args.json {
                    list(terminal, &jobs)?;
                }
                for job in jobs.iter().rev() {
                    if is_news(job) && (args.json || !first) {
                        update(terminal, job, args.json)?;
                    }
                }
                (first, failures, contact) = (false, 0, Instant::now());
            }
            Err(error) if error.may_pass() && contact.elapsed() < gateway.pace.out_of_contact => {
                failures += 1;
            }
            Err(error) => return Err(error),
        }
        while let Some(running) = &mut subscription {
            match running.next().await {
                Ok(Some(job)) => {
                    let wanted =
                        args.state.is_empty() || args.state.contains(&job.state.to_string());
                    if is_news(&job) && wanted {
                        update(terminal, &job, args.json)?;
                    }
                }
                Err(SocketError::Refused(error)) => return Err(*error),
                Ok(None) | Err(_) => subscription = None,
            }
        }
        tokio::time::sleep(if failures > 0 {
            gateway.pace.delay(failures)
        } else {
            gateway.pace.poll
        })
        .await;
    }
}

async fn cancel(args: &JobArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let cancelling = json!({ "input": { "jobId": args.id } });
    let job = gateway.execute::<CancelJob>(&cancelling).await?.job;
    let terminal = &mut context.terminal;
    if args.json {
        return terminal.json(&job);
    }
    if job.state == JobState::Cancelled {
        let done = terminal.paint(GOOD, "Cancelled");
        return terminal.line(format_args!("{done} {}", job.id));
    }
    terminal.line(format_args!(
        "Asked {} to stop; it is {} now",
        job.id, job.state
    ))
}

async fn retry(args: &JobArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let retrying = json!({ "input": { "jobId": args.id, "idempotencyKey": random_key() } });
    let job = gateway.execute::<RetryJob>(&retrying).await?.job;
    let terminal = &mut context.terminal;
    if args.json {
        return terminal.json(&job);
    }
    terminal.line(format_args!(
        "{} is {} again; watch it with `wharfinger jobs {} --watch`",
        job.id, job.state, job.id
    ))
}
