//! Whether the clocks of the fleet agree. A lease is written by the clock of one machine and judged by those of others:
//! where they differ by a good part of a lease, jobs are taken from workers that are well, or wait for workers that are
//! not. Nothing is corrected here; the operator is told, and NTP is the cure.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use wharfinger_entity::Timestamp;

use crate::infra::db::Db;
use crate::services::Services;

/// How often the clocks are compared.
const PERIOD: Duration = Duration::from_mins(1);

/// How far this process's clock is from the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Microseconds by which the database's clock is ahead; negative when it is behind.
    pub micros: i64,
    /// By how much this may be wrong: half of the time that the question took.
    pub uncertainty: Duration,
}

impl Skew {
    /// The difference that is certain, whichever clock is ahead.
    pub fn at_least(self) -> Duration {
        Duration::from_micros(self.micros.unsigned_abs()).saturating_sub(self.uncertainty)
    }

    /// Whether it is more than leases of this length can bear: a quarter of them, as they are renewed after a third and
    /// two clocks may be wrong in opposite ways.
    pub fn endangers(self, lease: Duration) -> bool {
        self.at_least() > lease / 4
    }
}

/// Compares the database's clock with this process's.
pub async fn measure(db: &Db, clock: &crate::infra::clock::Clock) -> Result<Skew, DbErr> {
    let before = clock.now();
    let theirs = database_time(db).await?;
    let after = clock.now();
    let took = after.since(before);
    Ok(Skew {
        micros: theirs.micros() - before.after(took / 2).micros(),
        uncertainty: took / 2,
    })
}

async fn database_time(db: &Db) -> Result<Timestamp, DbErr> {
    let sql = match db.backend() {
        // To the millisecond, which is as much as it knows.
        DbBackend::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        DbBackend::Postgres => {
            "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        }
        // UNIX_TIMESTAMP would read the hour that a time zone has twice in autumn.
        _ => "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",
    };
    let statement = Statement::from_string(db.backend(), sql);
    let row = db.read().query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the database's time".to_owned()))?;
    Ok(Timestamp::from_micros(row.try_get_by_index(0)?))
}

/// Compares from time to time, and warns when the clocks begin to differ too much, and every so often while they do.
#[derive(Debug, Default)]
pub(crate) struct ClockCheck {
    last: Option<tokio::time::Instant>,
    warned: bool,
}

impl ClockCheck {
    /// Compares, if it is time to: at first, and once a minute.
    pub(crate) async fn tick(&mut self, services: &Services) {
        if self.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return;
        }
        self.last = Some(tokio::time::Instant::now());
        match measure(&services.db, &services.clock).await {
            Ok(skew) => self.judge(skew, services.settings.worker.lease),
            Err(error) => tracing::debug!(%error, "could not ask the database for its time"),
        }
    }

    fn judge(&mut self, skew: Skew, lease: Duration) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a floating-point number"
        )]
        metrics::gauge!("wharfinger_clock_skew_seconds").set(skew.micros as f64 / 1e6);
        if skew.endangers(lease) {
            self.warned = true;
            let (behind, ahead) = if skew.micros < 0 {
                ("the database", "this machine")
            } else {
                ("this machine", "the database")
            };
            tracing::warn!(
                "the clock of {behind} is {} behind that of {ahead}, too much for leases of {}: jobs may be taken from workers that are well. Set the clocks by NTP",
                humantime::format_duration(Duration::from_millis(
                    u64::try_from(skew.at_least().as_millis()).unwrap_or(u64::MAX)
                )),
                humantime::format_duration(lease),
            );
        } else if self.warned {
            self.warned = false;
            tracing::info!("the clocks of this machine and of the database agree again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn skew(millis: i64, uncertainty: u64) -> Skew {
        Skew {
            micros: millis * 1000,
            uncertainty: Duration::from_millis(uncertainty),
        }
    }

    #[test]
    fn a_quarter_of_a_lease_is_too_much_in_either_direction() {
        for (skew, endangers) in [
            (skew(0, 0), false),
            (skew(3750, 0), false),
            (skew(3751, 0), true),
            (skew(-3751, 0), true),
            // A slow answer says nothing of the clocks.
            (skew(5000, 2000), false),
            (skew(-9000, 2000), true),
            (skew(100, 5000), false),
        ] {
            assert_eq!(skew.endangers(LEASE), endangers, "{skew:?}");
        }
    }

    #[test]
    fn a_warning_is_taken_back() {
        let mut check = ClockCheck::default();
        for (found, warned) in [(0, false), (9000, true), (9000, true), (10, false)] {
            check.judge(skew(found, 0), LEASE);
            assert_eq!(check.warned, warned);
        }
    }
}
