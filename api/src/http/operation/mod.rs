//! The transports of one operation: POST and GET, and server-sent events.

pub(crate) mod batch;
pub(crate) mod event_id;
pub(crate) mod post_get;
pub(crate) mod sharing;
pub(crate) mod sse;
