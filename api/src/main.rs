//! The `wharfinger` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharfinger::cli::run()
}
