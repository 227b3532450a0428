//! The program's own commands: the gateway, the worker, and users created directly in the database.
//!
//! [`cli`](crate::cli) reads the settings, then runs one of these to its end. The commands that talk to a gateway are in
//! [`client`](crate::client).

pub(crate) mod serve;
mod side_listeners;
pub(crate) mod user_create;
pub(crate) mod worker;
