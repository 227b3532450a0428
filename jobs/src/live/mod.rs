//! Live updates for watchers: events between processes, and the announcements that they carry.

pub mod events;
pub mod notify;
pub mod progress_event;
pub(crate) mod wake;
