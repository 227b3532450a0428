//! What must hold for any text whatever. The fuzzer (`entity/fuzz`) and the property tests both run it.

use wharfinger_entity::{Credits, Digest, ImageReference};

/// No parser panics, what one accepts it prints and reads back as the same, and no refusal repeats much of its input.
pub(crate) fn check(text: &str) {
    match ImageReference::parse(text) {
        Ok(reference) => {
            assert_eq!(
                ImageReference::parse(&reference.to_string()).as_ref(),
                Ok(&reference)
            );
            assert_eq!(
                ImageReference::parse(&reference.familiar()).as_ref(),
                Ok(&reference)
            );
            assert!(reference.tag().is_some() || reference.digest().is_some());
        }
        Err(error) => check_message(&error.to_string()),
    }
    match Digest::parse(text) {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => check_message(&error.to_string()),
    }
    match text.parse::<Credits>() {
        Ok(credits) => assert_eq!(credits.to_string().parse(), Ok(credits)),
        Err(error) => check_message(&error.to_string()),
    }
}

fn check_message(message: &str) {
    assert!(message.chars().count() < 300, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
