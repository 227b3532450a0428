//! Work that one process of the fleet does at a time.
//!
//! A row names the holder and says until when it is trusted to be alive. The holder renews it; another process takes it
//! when that time is over by its own clock, or when it has not seen the row change for as long, whatever the clocks say:
//! where they differ, the work changes hands without need, or a little late, and nothing else.

use std::time::Duration;

use sea_orm::sea_query::{Condition, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout, timeout_at,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Timestamp, lease};

use crate::infra::tasks::Task;
use crate::services::Services;

/// How long a holder is trusted without a renewal.
const LENGTH: Duration = Duration::from_secs(6);

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_millis(1500);

/// How long one statement about it may take. A holder that has not renewed for as long as two of them stops in time.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon after the end of another's lease it is looked at: the renewal may be on its way.
const MOMENT: Duration = Duration::from_millis(500);

/// A process's part in the work.
pub(crate) struct Lease {
    name: &'static str,
    holder: Uuid,
    /// It may be this process's: it was taken, or is being taken, and is not known to be another's.
    ours: bool,
    /// The row of another holder as it was last seen, and since when.
    seen: Option<(lease::Model, Instant)>,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This process's.
    Ours,
    /// Another one's.
    Anothers {
        /// When to look again.
        look_again: Duration,
    },
}

impl Lease {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            holder: Uuid::now_v7(),
            ours: false,
            seen: None,
        }
    }

    /// Takes the lease if no other process holds it.
    pub(crate) async fn take(&mut self, services: &Services) -> Result<Turn, DbErr> {
        let taking = timeout(PATIENCE, self.try_take(services));
        let taken = taking.await.unwrap_or_else(|_elapsed| Err(slow()));
        self.ours = matches!(taken, Ok(Turn::Ours));
        taken
    }

    async fn try_take(&mut self, services: &Services) -> Result<Turn, DbErr> {
        let row = if let Some(row) = self.row(services).await? {
            row
        } else {
            self.ours = true;
            self.begin(services).await?;
            let made = self.row(services).await?;
            made.ok_or_else(|| DbErr::RecordNotFound(self.name.to_owned()))?
        };
        let now = services.clock.now();
        let since = match &self.seen {
            Some((seen, since)) if *seen == row => *since,
            _ => Instant::now(),
        };
        self.seen = Some((row.clone(), since));
        let left = Ord::min(
            row.expires_at.since(now),
            LENGTH.saturating_sub(since.elapsed()),
        );
        if row.holder != self.holder && left > Duration::ZERO {
            return Ok(Turn::Anothers {
                look_again: left + MOMENT,
            });
        }
        self.ours = true;
        let as_seen = Condition::all()
            .add(lease::Column::Holder.eq(row.holder))
            .add(lease::Column::ExpiresAt.eq(row.expires_at));
        let ours = self.write(services, as_seen, now.after(LENGTH)).await?;
        Ok(if ours {
            Turn::Ours
        } else {
            Turn::Anothers { look_again: MOMENT }
        })
    }

    async fn row(&self, services: &Services) -> Result<Option<lease::Model>, DbErr> {
        lease::Entity::find()
            .filter(lease::Column::Name.eq(self.name))
            .one(services.db.read())
            .await
    }

    /// Makes the row, unless another process was quicker.
    async fn begin(&self, services: &Services) -> Result<(), DbErr> {
        let row = lease::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(self.name.to_owned()),
            holder: Set(self.holder),
            expires_at: Set(services.clock.now().after(LENGTH)),
        };
        lease::Entity::insert(row)
            .on_conflict(
                OnConflict::column(lease::Column::Name)
                    .do_nothing_on([lease::Column::Name])
                    .to_owned(),
            )
            .exec_without_returning(services.db.write())
            .await?;
        Ok(())
    }

    /// Renews the lease until it is lost, or could not be renewed in time.
    pub(crate) async fn keep(&mut self, services: &Services, task: &Task) {
        let mut given_up_at = Instant::now() + 2 * PATIENCE;
        while Instant::now() < given_up_at {
            let next = sleep_until(given_up_at.min(Instant::now() + RENEWAL));
            task.waiting(next).await;
            let asked_at = Instant::now();
            let until = services.clock.now().after(LENGTH);
            let ours = Condition::all().add(lease::Column::Holder.eq(self.holder));
            let renewing = self.write(services, ours, until);
            match timeout_at(given_up_at.min(asked_at + PATIENCE), renewing).await {
                Ok(Ok(true)) => given_up_at = asked_at + 2 * PATIENCE,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::debug!(%error, "could not renew the lease"),
                Err(_elapsed) => tracing::debug!("could not renew the lease in time"),
            }
        }
    }

    /// Lets another process take the lease at once, if this one holds it.
    pub(crate) async fn give_up(&self, services: &Services) {
        if !self.ours {
            return;
        }
        let ours = Condition::all().add(lease::Column::Holder.eq(self.holder));
        let over = Timestamp::from_micros(0);
        if timeout(PATIENCE, self.write(services, ours, over))
            .await
            .is_err()
        {
            tracing::debug!(
                "could not give the lease up in time: another process takes it when it is over"
            );
        }
    }

    /// Makes this process the holder. What a crash of the database forgets is taken again: it need not wait for the disk.
    async fn write(
        &self,
        services: &Services,
        condition: Condition,
        expires_at: Timestamp,
    ) -> Result<bool, DbErr> {
        let changed = lease::Entity::update_many()
            .set(lease::ActiveModel {
                holder: Set(self.holder),
                expires_at: Set(expires_at),
                ..Default::default()
            })
            .filter(lease::Column::Name.eq(self.name))
            .filter(condition)
            .exec(services.db.relaxed())
            .await?;
        Ok(changed.rows_affected == 1)
    }
}

fn slow() -> DbErr {
    DbErr::Custom("the database did not answer in time".to_owned())
}

/// That it is this process's turn; cancelled when it is not any more.
pub(crate) struct Held(pub(crate) CancellationToken);

impl Held {
    /// The rounds of one loop. Each is reported by itself.
    pub(crate) fn rounds(&self, period: Duration, task: &Task) -> Rounds {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Rounds {
            ticks,
            task: task.another(),
            lost: self.0.clone(),
        }
    }
}

/// The rounds of one loop of the housekeeping.
pub(crate) struct Rounds {
    ticks: Interval,
    task: Task,
    lost: CancellationToken,
}

impl Rounds {
    /// Waits for the next round; false when there is none, because it is another process's turn.
    pub(crate) async fn next(&mut self) -> bool {
        let next = self.lost.run_until_cancelled(self.ticks.tick());
        self.task.waiting(next).await.is_some()
    }

    /// To be asked between two transactions of a round: whether the round may go on.
    pub(crate) fn goes_on(&self) -> bool {
        self.task.passed();
        !self.lost.is_cancelled()
    }
}
