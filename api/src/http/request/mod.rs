//! Reads a request before anything is executed: the wanted media types, and the parameters of the body or query string.

pub(crate) mod body;
pub(crate) mod negotiation;
pub(crate) mod parameters;
pub(crate) mod preflight;
