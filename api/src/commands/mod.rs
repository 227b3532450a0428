//! The program's own commands: the gateway, the worker, and users made straight in the database.

pub(crate) mod serve;
pub(crate) mod user_create;
