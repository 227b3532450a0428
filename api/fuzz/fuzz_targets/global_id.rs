//! Any text as a global id.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| wharfinger::fuzzing::global_id(text));
