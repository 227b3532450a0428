//! `wharfinger images`.

use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::model::Image;
use super::text::{age, short_id, size};
use super::{EXIT_CODES, operations, table};
use chrono::{DateTime, Utc};
use clap::Args;

/// Arguments of `wharfinger images`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct ImagesArgs {
    /// Also list images that were let go or lost
    #[arg(long, short)]
    pub all_states: bool,
    /// Only images whose reference contains this
    #[arg(long, short, value_name = "TEXT")]
    pub search: Option<String>,
    /// Print only the gateway's ids, one on a line, as `wharfinger rm` takes them
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Lists the viewer's private images and every public one.
pub(super) async fn run(args: ImagesArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let states: &[&str] = if args.all_states {
        &["HELD", "RELEASED", "LOST"]
    } else {
        &["HELD"]
    };
    let images = operations::images(&gateway, states, args.search.as_deref()).await?;
    let terminal = &mut context.terminal;
    if args.json {
        return terminal.json(&images);
    }
    if args.quiet {
        return images.iter().try_for_each(|image| terminal.line(&image.id));
    }
    let mut columns = vec![
        "reference",
        "size",
        "charge",
        "host",
        "visibility",
        "pulled",
        "image id",
    ];
    if args.all_states {
        columns.push("state");
    }
    let now = Utc::now();
    let rows = images.iter().map(|image| row(image, args.all_states, now));
    table::print(terminal, &columns, rows)?;
    if images.is_empty() && args.search.is_none() {
        terminal.note("No images. `wharfinger pull REFERENCE` gets one.");
    }
    Ok(())
}

fn row(image: &Image, with_state: bool, now: DateTime<Utc>) -> Vec<String> {
    let mut row = vec![
        image.familiar_name.to_string(),
        size(image.size),
        image.charge.to_string(),
        image.host.name.to_string(),
        image.visibility.to_string().to_lowercase(),
        format!("{} ago", age(image.pulled_at, now)),
        short_id(&image.image_id),
    ];
    if with_state {
        row.push(image.state.to_string().to_lowercase());
    }
    row
}
