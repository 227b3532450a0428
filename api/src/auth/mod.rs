//! Authentication and request limits: who is calling, and how often they may.
//!
//! A request is counted first ([`rate_limit`]), by the user of its token where that is known, else by its address. Its token
//! ([`bearer`], or the console's cookie) is then looked up ([`token_check`]), which makes it a `Caller` for the resolvers.
//! [`token_authenticator`] does both at each stage of a request, a stream and a WebSocket.

pub(crate) mod bearer;
pub(crate) mod rate_limit;
pub(crate) mod token_authenticator;
pub(crate) mod token_check;
