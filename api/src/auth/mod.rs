//! Who is calling, and how often.

pub(crate) mod bearer;
pub(crate) mod rate_limit;
pub(crate) mod token_authenticator;
