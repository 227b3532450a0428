//! Any text as the first message on a WebSocket.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| wharfinger::fuzzing::connection_init(text));
