//! Any bytes as each header that says who calls, or from where.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wharfinger::fuzzing::headers(bytes));
