//! `wharfinger rm`.

use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{Image, Job, JobState};
use super::operations::{RefundQuery, RemoveImage};
use super::progress::Silent;
use super::pull::{failure, left_running, random_key};
use super::terminal::{GOOD, Terminal};
use super::text::Text;
use super::{EXIT_CODES, follow, resolve};
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// Arguments of `wharfinger rm`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RemoveArgs {
    /// Images to remove: redis:7, the gateway's id, or the start of the engine's id
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Only on this host, by name or id
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Print the jobs' ids and do not wait for them
    #[arg(long, short)]
    pub detach: bool,
    /// Print JSON, a line for each image
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// The result of one removal.
#[derive(Serialize)]
struct Removal {
    job: Job,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Text>,
}

/// Removes images one after the other. A failed removal does not stop the others.
pub(super) async fn run(args: RemoveArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let (mut failed, asked) = (0, args.images.len());
    for wanted in &args.images {
        match remove(&gateway, wanted, &args, context).await {
            Ok(()) => {}
            Err(error @ (ClientError::Refused(_) | ClientError::Failed(_))) if asked > 1 => {
                context.terminal.report(&error);
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if failed > 0 {
        return Err(ClientError::Partly { failed, asked });
    }
    Ok(())
}

async fn remove(
    gateway: &Gateway,
    wanted: &str,
    args: &RemoveArgs,
    context: &mut Context,
) -> Result<(), ClientError> {
    let image = resolve::image(gateway, wanted, args.host.as_deref()).await?;
    let input = json!({ "imageId": image.id, "idempotencyKey": random_key() });
    let variables = json!({ "input": input });
    let job = gateway.execute::<RemoveImage>(&variables).await?.job;
    let terminal = &mut context.terminal;
    if args.detach {
        return if args.json {
            terminal.json(&Removal { job, refund: None })
        } else {
            terminal.line(&job.id)
        };
    }
    let mut unseen = Silent;
    let job = tokio::select! {
        job = follow::follow(gateway, &job, &mut unseen) => job?,
        () = &mut context.interrupt => return Err(left_running(&job)),
    };
    conclude(gateway, terminal, &image, job, args.json).await
}

async fn conclude(
    gateway: &Gateway,
    terminal: &mut Terminal,
    image: &Image,
    job: Job,
    json: bool,
) -> Result<(), ClientError> {
    if job.state != JobState::Succeeded {
        let error = failure(&job);
        if json {
            terminal.json(&Removal { job, refund: None })?;
        }
        return Err(error);
    }
    let wallet = gateway.execute::<RefundQuery>(&json!({})).await?;
    let refund = wallet.ledger.nodes.into_iter().find(|entry| {
        entry.kind.raw() == "REFUND" && entry.job.as_ref().is_some_and(|of| of.id == job.id)
    });
    let refund = refund.map(|entry| entry.amount);
    if json {
        return terminal.json(&Removal { job, refund });
    }
    let done = terminal.paint(GOOD, "Removed");
    let came_back = match refund {
        Some(amount) => format!(
            "{amount} credits came back, {} available",
            wallet.balance.available
        ),
        None => "no credits came back: another tag of the image is still yours, or it was free"
            .to_owned(),
    };
    terminal.line(format_args!(
        "{done} {} from {}: {came_back}",
        image.familiar_name, image.host.name
    ))
}
