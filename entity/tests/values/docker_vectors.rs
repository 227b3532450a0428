//! The test vectors of github.com/distribution/reference (commit 0965666: `normalize_test.go`, `reference_test.go`,
//! `regexp_test.go`), a file for each and each table under the name of its test there.

mod normalize;
mod normalize_whole;
mod parse;
mod regexp;

use wharfinger_entity::{ImageReference, ReferenceError};

fn parse(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn refuse(text: &str) -> ReferenceError {
    match ImageReference::parse(text) {
        Ok(reference) => panic!("{text:?} was read as {reference}"),
        Err(error) => error,
    }
}
