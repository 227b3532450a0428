//! The database's clock. Leases are written and judged by it alone, so that the clocks of the machines may differ.

use std::time::Duration;

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExprTrait};
use wharfinger_entity::Timestamp;

use super::Db;
use crate::infra::clock::Clock;

/// The microseconds since 1970 at which the statement began. That a statement may wait for a lock makes a lease shorter
/// than its holder believes, never longer, if the holder counts from the instant before it asked. `now()` of PostgreSQL would
/// be the beginning of the transaction, and `UNIX_TIMESTAMP` of MariaDB would read the hour that a time zone has twice.
fn now(backend: DbBackend) -> &'static str {
    match backend {
        // Exact to the millisecond.
        DbBackend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        DbBackend::Postgres => {
            "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"
        }
        _ => "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",
    }
}

impl Db {
    /// The instant `later` from now by the database's clock, as part of a statement. Tests move that clock by `clock`.
    pub(crate) fn time(&self, clock: &Clock, later: Duration) -> Expr {
        let later = i64::try_from(later.as_micros()).unwrap_or(i64::MAX);
        Expr::cust(now(self.backend())).add(clock.database_offset().saturating_add(later))
    }

    /// The present instant by the database's clock, for what is asked for seldom.
    pub(crate) async fn now(&self, clock: &Clock) -> Result<Timestamp, DbErr> {
        let query = Query::select()
            .expr(self.time(clock, Duration::ZERO))
            .to_owned();
        let row = self.read().query_one(&query).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the database's time".to_owned()))?;
        row.try_get_by_index(0)
    }
}
