//! Listeners, TLS, and from where a request came.

pub(crate) mod client_address;
pub(crate) mod listener;
pub(crate) mod over_tls;
pub(crate) mod tls;
