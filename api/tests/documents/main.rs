//! The documents: pages that are made from the program are up to date, and the files, headings and tests that pages name
//! exist.
//!
//! `make docs` writes the pages that are made: it runs these tests with `WHARFINGER_TEST_WRITE_DOCS` set.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

mod alerts;
mod decisions;
mod kinds;
mod links;
mod promises;
mod settings;
mod tables;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file, by its path in the repository.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails when the page of this path is not this text; with `WHARFINGER_TEST_WRITE_DOCS` set, writes it instead.
fn assert_current(path: &str, text: &str) {
    if env::var_os("WHARFINGER_TEST_WRITE_DOCS").is_some() {
        fs::write(root().join(path), text).unwrap();
    }
    let there = fs::read_to_string(root().join(path)).unwrap_or_default();
    let differs = there.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        there == text,
        "{path} is not up to date: run `make docs`. First difference: {differs:?}"
    );
}
