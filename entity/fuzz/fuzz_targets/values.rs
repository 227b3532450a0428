//! Any text through every parser of the crate; the property tests run the same body on stable Rust.
#![no_main]

#[path = "../../tests/values/grammar.rs"]
mod grammar;

#[path = "../../tests/values/fuzz_body.rs"]
mod fuzz_body;

libfuzzer_sys::fuzz_target!(|text: &str| fuzz_body::check(text));
