//! The sockets that the program serves: listeners, TLS, and the addresses of clients.
//!
//! A connection is accepted by [`listener`], decrypted by [`tls`] where a certificate is set, and its requests go to the routes
//! of `http`, `board` or `observability`. [`client_address`] and [`over_tls`] tell these where a request came from, also behind
//! a trusted reverse proxy.

pub(crate) mod client_address;
pub(crate) mod listener;
pub(crate) mod over_tls;
pub(crate) mod tls;
