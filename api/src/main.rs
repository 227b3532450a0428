//! The `wharfinger` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes thousands of small allocations, on one thread, and frees them on another: glibc's allocator was a seventh of
/// the time of a list.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    wharfinger::cli::run()
}
