//! The `wharfinger` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(wharfinger::cli::run()).await
}
