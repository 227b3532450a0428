//! How far this process's clock is from the database's. No lease depends on it: what the clocks of several machines still
//! decide is whether a host counts as offline, when a job is due again, and when sessions and tokens end.

use std::time::Duration;

use sea_orm::DbErr;

use crate::services::Services;

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
}

/// Compares the database's clock with this process's.
pub async fn measure(services: &Services) -> Result<Skew, DbErr> {
    let clock = &services.clock;
    let before = clock.now();
    let theirs = services.db.now(clock).await?;
    let uncertainty = clock.now().since(before) / 2;
    Ok(Skew {
        micros: theirs.micros() - before.after(uncertainty).micros(),
        uncertainty,
    })
}

/// Compares, and warns where the difference may make hosts count as offline.
pub(super) async fn check(services: &Services) {
    let skew = match measure(services).await {
        Ok(skew) => skew,
        Err(error) => {
            tracing::debug!(%error, "could not ask the database for its time");
            return;
        }
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a floating-point number"
    )]
    let seconds = skew.micros as f64 / 1e6;
    metrics::gauge!("wharfinger_clock_skew_seconds").set(seconds);
    if skew.at_least() > services.settings.host.offline_after / 4 {
        tracing::warn!(
            "the database's clock is {seconds:.1} s ahead of this machine's: hosts may look offline. Set the clocks by NTP"
        );
    }
}
