//! What a request says, before anything is executed.

pub(crate) mod body;
pub(crate) mod json_object;
pub(crate) mod negotiation;
pub(crate) mod parameters;
pub(crate) mod preflight;
