//! The database layer on databases that fail: full, silent, and with callers that go away.

mod busy;
mod cut_off;
mod full_disk;
mod silent;
mod support;
