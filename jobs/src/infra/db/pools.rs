//! How busy the connections to the database are.

use sea_orm::DbBackend;

use super::Db;
use super::pool::{Connections, Pool};

/// Connections that a process needs at least: one for each pool of a gateway on PostgreSQL.
pub const LEAST_CONNECTIONS: u32 = 4;

/// How the connections of a process are shared among its pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) write: u32,
    pub(crate) relaxed: u32,
    pub(crate) requests: u32,
    pub(crate) planned: u32,
}

impl Shares {
    /// The shares of so many connections, with some for requests or without. Together they are no more than that.
    pub(crate) fn of(backend: DbBackend, connections: u32, requests: bool) -> Self {
        let most = connections.max(LEAST_CONNECTIONS);
        let percent = |percent: u32| (most * percent / 100).max(1);
        let (relaxed, requests, planned) = match (backend, requests) {
            // Renewals of leases are among the relaxed ones, and are not to wait behind statements that wait for a row.
            (DbBackend::Postgres, true) => (percent(20), percent(30), percent(20)),
            (DbBackend::Postgres, false) => (percent(20), 0, 0),
            (_, true) => (0, percent(50), 0),
            (_, false) => (0, 0, 0),
        };
        Self {
            write: most - relaxed - requests - planned,
            relaxed,
            requests,
            planned,
        }
    }
}

/// The state of one pool of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The purpose of the pool: `write`, `read`, `relaxed`, `requests` or `planned` (of requests, too).
    pub pool: &'static str,
    /// Connections that are open.
    pub open: u32,
    /// Of these, the idle ones.
    pub idle: u32,
    /// Connections that may be open at most.
    pub most: u32,
}

impl Db {
    /// The state of every pool; where two uses share one, it is told once.
    pub fn pools(&self) -> Vec<PoolState> {
        let mut pools = match self.backend() {
            DbBackend::Sqlite => vec![state("write", &self.write), state("read", &self.read)],
            DbBackend::Postgres => {
                vec![state("write", &self.write), state("relaxed", &self.relaxed)]
            }
            _ => vec![state("write", &self.write)],
        };
        if let Some(requests) = &self.requests {
            pools.push(state("requests", &requests.any));
            if self.backend() == DbBackend::Postgres {
                pools.push(state("planned", &requests.planned));
            }
        }
        pools
    }
}

fn state(name: &'static str, pool: &Pool) -> PoolState {
    macro_rules! of {
        ($connections:expr) => {
            PoolState {
                pool: name,
                open: $connections.size(),
                idle: u32::try_from($connections.num_idle()).unwrap_or(u32::MAX),
                most: $connections.options().get_max_connections(),
            }
        };
    }
    match &pool.connections {
        Connections::Sqlite(connections) => of!(connections),
        Connections::Postgres(connections) => of!(connections),
        Connections::MySql(connections) => of!(connections),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_no_more_than_all_and_leave_some_for_renewals() {
        for backend in [DbBackend::Sqlite, DbBackend::Postgres, DbBackend::MySql] {
            for requests in [false, true] {
                for connections in 0..=200 {
                    let of = Shares::of(backend, connections, requests);
                    let sum = of.write + of.relaxed + of.requests + of.planned;
                    assert_eq!(sum, connections.max(LEAST_CONNECTIONS), "{of:?}");
                    assert!(of.write > 0, "{of:?}");
                }
                let postgres = backend == DbBackend::Postgres;
                let usual = Shares::of(backend, super::super::DEFAULT_CONNECTIONS, requests);
                assert!(!postgres || usual.relaxed >= 4, "{usual:?}");
            }
        }
    }
}
