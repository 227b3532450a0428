//! `wharfinger statement`: the whole ledger of a user, oldest first, read page by page.

use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{Page, StatementEntry};
use super::operations::{StatementQuery, UserStatementQuery, user};
use super::text::Text;
use super::{EXIT_CODES, table};
use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};
use std::io;

/// The columns of the table and of CSV.
const COLUMNS: [&str; 7] = [
    "time",
    "kind",
    "amount",
    "total",
    "reference",
    "reason",
    "job",
];

/// Arguments of `wharfinger statement`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct StatementArgs {
    /// Print CSV. A text that a spreadsheet would take for a formula has a ' in front
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The statement of this user instead of your own (administrators only)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Lists every movement of a user's credits, with the total after it.
pub(super) async fn run(args: StatementArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let id = match &args.user {
        Some(name) => Some(user(&gateway, name).await?.id),
        None => None,
    };
    let terminal = &mut context.terminal;
    if args.csv {
        terminal.line(csv_line(&COLUMNS)?)?;
    }
    let mut entries = Vec::new();
    let mut variables = id.map_or_else(|| json!({}), |id| json!({ "id": id }));
    loop {
        let page = page(&gateway, &variables).await?;
        // Pages are read from the end of the list, and each has its newest entry first.
        let oldest_first = page.nodes.into_iter().rev();
        if args.csv {
            for entry in oldest_first {
                terminal.line(csv_line(&cells(&entry, true))?)?;
            }
        } else {
            entries.extend(oldest_first);
        }
        if !page.page_info.advance("before", &mut variables) {
            break;
        }
    }
    if args.json {
        return terminal.json(&entries);
    }
    if !args.csv {
        let rows = entries.iter().map(|entry| cells(entry, false));
        table::print(terminal, &COLUMNS, rows)?;
    }
    Ok(())
}

/// Returns a page of the statement of the user `id`, or of the viewer.
async fn page(gateway: &Gateway, variables: &Value) -> Result<Page<StatementEntry>, ClientError> {
    let account = if variables["id"].is_null() {
        gateway.execute::<StatementQuery>(variables).await?
    } else {
        gateway.execute::<UserStatementQuery>(variables).await?
    };
    account
        .map(|account| account.ledger)
        .ok_or_else(|| ClientError::Failed("the user is gone".to_owned()))
}

fn cells(entry: &StatementEntry, guarded: bool) -> [String; 7] {
    let text = |text: &Option<Text>| match text {
        Some(text) if guarded => guard(text.to_string()),
        Some(text) => text.to_string(),
        None => String::new(),
    };
    [
        entry
            .created_at
            .to_rfc3339_opts(SecondsFormat::AutoSi, true),
        entry.kind.to_string(),
        entry.amount.to_string(),
        entry.total_after.to_string(),
        text(&entry.reference),
        text(&entry.reason),
        entry
            .job
            .as_ref()
            .map(|job| job.id.to_string())
            .unwrap_or_default(),
    ]
}

/// Prefixes a text that a spreadsheet would run as a formula: another user may have written it.
fn guard(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text
    }
}

fn csv_line(cells: &[impl AsRef<[u8]>]) -> io::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    let line = writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?;
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    Ok(line.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_csv_holds_whatever_was_written() {
        let entry: StatementEntry = serde_json::from_value(serde_json::json!({
            "createdAt": "2026-11-24T09:30:00.5Z", "kind": "ADJUSTMENT", "amount": "-0.5", "totalAfter": "9.5",
            "reference": null, "reason": "=1+1, \"so\"\nthere", "job": null,
        }))
        .unwrap();
        assert_eq!(
            csv_line(&cells(&entry, true)).unwrap(),
            "2026-11-24T09:30:00.500Z,ADJUSTMENT,-0.5,9.5,,\"'=1+1, \"\"so\"\" there\","
        );
        assert_eq!(cells(&entry, false)[5], "=1+1, \"so\" there");
    }
}
