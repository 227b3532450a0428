//! From settings to a running process, and to its end.
//!
//! [`data_dir`] makes the process' files private, [`secret_key`] finds the key of stored logins, [`parts`] connects to the
//! database, the queue and the engine, and [`first_admin`] fills an empty database. [`signals`] says when to stop, and
//! [`supervise`] ends a process whose background task ended.

pub(crate) mod data_dir;
pub(crate) mod first_admin;
pub(crate) mod parts;
pub(crate) mod secret_key;
pub(crate) mod signals;
pub(crate) mod supervise;
