//! The properties that hold for every text. The fuzzer (`entity/fuzz`) and the property tests both run it.

use wharfinger_entity::clean_text::is_hidden;
use wharfinger_entity::{
    CleanText, Credits, Digest, DigestError, ExposedPort, ImageReference, ReferenceError,
};

use crate::grammar;

/// No parser panics, what one accepts it prints and reads back as the same, and no refusal repeats much of its input.
/// A reference is accepted only if it is one by Docker's grammar, and refused only if it is none, or for a reason that the
/// grammar does not know.
pub(crate) fn check(text: &str) {
    match ImageReference::parse(text) {
        Ok(reference) => {
            assert!(grammar::reference().is_match(text), "{text:?} was accepted");
            assert!(
                grammar::reference().is_match(&reference.to_string()),
                "{reference}"
            );
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
        Err(error) => {
            if grammar::reference().is_match(text) {
                assert!(
                    is_refused_beyond_the_grammar(text, &error),
                    "{text:?}: {error:?}"
                );
            }
            check_message(&error.to_string());
        }
    }
    match Digest::parse(text) {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => check_message(&error.to_string()),
    }
    match text.parse::<Credits>() {
        Ok(credits) => assert_eq!(credits.to_string().parse(), Ok(credits)),
        Err(error) => check_message(&error.to_string()),
    }
    if let Ok(port) = text.parse::<ExposedPort>() {
        assert_eq!(port.to_string().parse(), Ok(port));
    }
    check_cleaning(text);
}

/// What is cleaned is bounded, has nothing hidden, stays as it is when it is cleaned again, and is the text itself where that
/// was clean.
fn check_cleaning(text: &str) {
    const MOST: usize = 24;
    let cleaned = CleanText::<MOST>::new(text);
    assert!(cleaned.chars().count() <= MOST, "{cleaned:?}");
    let blank = |c: char| c.is_whitespace() && c != ' ';
    assert!(
        !cleaned.chars().any(|c| is_hidden(c) || blank(c)),
        "{cleaned:?}"
    );
    assert_eq!(CleanText::<MOST>::new(&cleaned), cleaned, "{text:?}");
    let exact = CleanText::<MOST>::exact(text);
    assert_eq!(exact.is_some(), cleaned == text, "{text:?}");
}

/// What Docker refuses, or this parser, of the texts that the grammar has: see the messages of the errors.
fn is_refused_beyond_the_grammar(text: &str, error: &ReferenceError) -> bool {
    match error {
        ReferenceError::TooLong { .. }
        | ReferenceError::Identifier { .. }
        | ReferenceError::RepositoryTooLong { .. }
        | ReferenceError::Digest(
            DigestError::Algorithm { .. }
            | DigestError::Length { .. }
            | DigestError::UpperCase { .. },
        ) => true,
        // `[abc]/name`: a host by the grammar; Docker takes it for the first part of a path, which it cannot be.
        ReferenceError::NoRepository { .. } => text.starts_with('['),
        // `a_b.c/name`: a path by the grammar; Docker takes its first part for a host, and hosts have no underscores.
        ReferenceError::Registry(registry) => registry.contains('_'),
        _ => false,
    }
}

fn check_message(message: &str) {
    assert!(message.chars().count() < 300, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
