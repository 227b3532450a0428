//! From settings to a process: its parts, its keys, its files, its signals, and the end of it.

pub(crate) mod data_dir;
pub(crate) mod first_admin;
pub(crate) mod parts;
pub(crate) mod secret_key;
pub(crate) mod signals;
pub(crate) mod supervise;
