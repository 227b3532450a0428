//! The `wharfinger` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    wharfinger::cli::run().await
}
