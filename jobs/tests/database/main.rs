//! The database layer on databases that fail: full, silent, and with callers that go away. Needs the servers of `make test`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod busy;
mod cut_off;
mod full_disk;
mod silent;
mod support;
