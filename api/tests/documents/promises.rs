//! Each promise of `api/docs/SECURITY.md` names the tests that fail when it is broken, in a comment behind it. These exist.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/SECURITY.md");

/// The sections whose rows and list items are promises.
const SECTIONS: [&str; 4] = [
    "Who is trusted with what",
    "What is protected, and how",
    "What is not protected",
    "Settings that matter",
];

/// Begins a comment that names tests, by file and function.
const TESTS: &str = "<!-- tests: ";

/// Begins a comment that says why there is none: what the page warns of cannot be tested here.
const NO_TEST: &str = "<!-- no test: ";

/// The rows of tables, less their heads, and the list items of a section, with the lines that belong to each.
fn promises(section: &str) -> Vec<String> {
    let mut promises: Vec<String> = Vec::new();
    for line in section.lines() {
        let begins = line.starts_with("- ") || line.starts_with("| **") || line.starts_with("| `");
        if begins {
            promises.push(line.to_owned());
        } else if let Some(promise) = promises.last_mut().filter(|_| line.starts_with("  ")) {
            promise.push_str(line);
        }
    }
    promises
}

/// The names in every comment that begins like this.
fn named<'a>(text: &'a str, comment: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(comment).skip(1).flat_map(|rest| {
        let (names, _) = rest.split_once(" -->").expect("the end of a comment");
        names.split(' ')
    })
}

/// The file of a test: from the root of the repository, or from the end-to-end tests.
fn file(named: &str) -> PathBuf {
    let api = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_root = ["api/", "jobs/", "entity/"]
        .iter()
        .any(|folder| named.starts_with(folder));
    if of_root {
        api.join("..").join(named)
    } else {
        api.join("tests/end_to_end").join(named)
    }
}

#[test]
fn each_promise_names_its_tests() {
    let mut without = Vec::new();
    for name in SECTIONS {
        let (_, section) = PAGE.split_once(&format!("## {name}")).expect("the section");
        let section = section.split("\n## ").next().unwrap();
        let promises = promises(section);
        assert!(promises.len() >= 5, "{name}: {promises:?}");
        let silent = |promise: &String| !promise.contains(TESTS) && !promise.contains(NO_TEST);
        without.extend(promises.into_iter().filter(silent));
    }
    assert!(without.is_empty(), "without a test: {without:#?}");
}

#[test]
fn every_test_that_is_named_exists() {
    let mut count = 0;
    for test in named(PAGE, TESTS) {
        let (path, function) = test.split_once("::").unwrap_or_else(|| panic!("{test}"));
        let source = fs::read_to_string(file(path)).unwrap_or_else(|_| panic!("no file: {test}"));
        assert!(
            source.contains(&format!("fn {function}(")),
            "no function: {test}"
        );
        count += 1;
    }
    assert!(count > 50, "{count} tests are named");
}
