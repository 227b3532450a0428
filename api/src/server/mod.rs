//! The sockets that the program serves: listeners, TLS, and the clients behind requests.
//!
//! A connection is accepted by [`listener`], decrypted by [`tls`] where a certificate is set, and its requests go to the routes
//! of `http`, `board` or `observability`. [`forwarded`] tells these where a request came from, also behind a trusted reverse
//! proxy.

pub(crate) mod forwarded;
pub(crate) mod listener;
pub(crate) mod tls;
