//! How busy the connections to the database are.

use sea_orm::{DatabaseConnection, DbBackend};

use super::Db;

/// The state of one pool of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// What the pool is for: `write`, `read`, `relaxed`, `requests` or `planned` (of requests, too).
    pub pool: &'static str,
    /// Connections that are open.
    pub open: u32,
    /// Of these, those that nobody uses.
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

fn state(pool: &'static str, connection: &DatabaseConnection) -> PoolState {
    macro_rules! of {
        ($connections:expr) => {{
            let connections = $connections;
            PoolState {
                pool,
                open: connections.size(),
                idle: u32::try_from(connections.num_idle()).unwrap_or(u32::MAX),
                most: connections.options().get_max_connections(),
            }
        }};
    }
    match connection.get_database_backend() {
        DbBackend::Sqlite => of!(connection.get_sqlite_connection_pool()),
        DbBackend::Postgres => of!(connection.get_postgres_connection_pool()),
        _ => of!(connection.get_mysql_connection_pool()),
    }
}
