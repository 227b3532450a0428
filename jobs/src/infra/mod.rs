//! The parts that everything is built on and that know nothing of jobs: the database, Redis, time, traces, metrics, keys, and tasks.

pub mod clock;
pub mod db;
pub(crate) mod in_flight;
pub mod keyring;
pub mod metrics;
pub mod password_hashing;
pub(crate) mod redis_connection;
pub mod tasks;
pub mod trace;
