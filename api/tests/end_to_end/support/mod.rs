//! What the tests stand on: processes, servers and clients. Everything here panics where it cannot do what it says.

pub(crate) mod books;
pub(crate) mod browser;
pub(crate) mod collector;
pub(crate) mod graphql;
pub(crate) mod images;
pub(crate) mod own_server;
pub(crate) mod postgres_proxy;
#[path = "../../../../jobs/tests/support/private_redis.rs"]
pub(crate) mod private_redis;
pub(crate) mod process;
pub(crate) mod registry_proxy;
pub(crate) mod servers;
pub(crate) mod socket;
pub(crate) mod waiting;
pub(crate) mod world;

pub(crate) use waiting::{DEADLINE, soon, until};
