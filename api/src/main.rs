//! The `wharfinger` program.

use std::process::ExitCode;

/// A page of a list is hundreds of small allocations: jemalloc serves them in less time than glibc (ADR 0024).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    wharfinger::cli::run()
}
