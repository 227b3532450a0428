//! Turns results and refusals into responses: encoding, statuses, size limits, compression, and headers.

pub(crate) mod cors;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod headers;
pub(crate) mod quota;
pub(crate) mod size_limit;
