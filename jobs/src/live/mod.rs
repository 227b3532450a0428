//! What watchers see as it happens: events between processes, and the announcements that travel in them.

pub mod events;
pub mod notify;
pub mod progress_event;
pub(crate) mod wake;
