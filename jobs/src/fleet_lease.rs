//! Work that one process of the fleet does at a time.
//!
//! A row names the holder and says until when it is trusted to be alive, by the database's clock. The holder renews it;
//! another process takes it when that time is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, ExprTrait, QueryFilter, QuerySelect,
};
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout, timeout_at,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Timestamp, lease};

use crate::infra::tasks::Task;
use crate::services::Services;

/// When a lease is over that no process holds.
const FREE: Timestamp = Timestamp::from_micros(0);

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
    /// Whether it was taken, and not lost since.
    held: AtomicBool,
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
            held: AtomicBool::new(false),
        }
    }

    /// Takes the lease if no other process holds it.
    pub(crate) async fn take(&self, services: &Services) -> Result<Turn, DbErr> {
        let taking = timeout(PATIENCE, self.try_take(services));
        taking.await.unwrap_or_else(|_elapsed| Err(slow()))
    }

    async fn try_take(&self, services: &Services) -> Result<Turn, DbErr> {
        let free = lease::Column::ExpiresAt
            .into_expr()
            .lt(services.database_time(Duration::ZERO));
        let until = services.database_time(LENGTH);
        if self.write(services, self.ours().add(free), until).await? {
            self.held.store(true, Ordering::Relaxed);
            return Ok(Turn::Ours);
        }
        let row: Option<(Timestamp, Timestamp)> = lease::Entity::find()
            .select_only()
            .column(lease::Column::ExpiresAt)
            .expr(services.database_time(Duration::ZERO))
            .filter(lease::Column::Name.eq(self.name))
            .into_tuple()
            .one(services.db.read())
            .await?;
        let look_again = if let Some((expires_at, now)) = row {
            expires_at.since(now) + MOMENT
        } else {
            self.begin(services).await?;
            Duration::ZERO
        };
        Ok(Turn::Anothers { look_again })
    }

    /// Makes the row, free to be taken, unless another process was quicker.
    async fn begin(&self, services: &Services) -> Result<(), DbErr> {
        let row = lease::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(self.name.to_owned()),
            holder: Set(self.holder),
            expires_at: Set(FREE),
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

    fn ours(&self) -> Condition {
        Condition::any().add(lease::Column::Holder.eq(self.holder))
    }

    /// Renews the lease until it is lost, or could not be renewed in time.
    pub(crate) async fn keep(&self, services: &Services, task: &Task) {
        self.renew(services, task).await;
        self.held.store(false, Ordering::Relaxed);
    }

    async fn renew(&self, services: &Services, task: &Task) {
        let mut given_up_at = Instant::now() + 2 * PATIENCE;
        while Instant::now() < given_up_at {
            let next = sleep_until(given_up_at.min(Instant::now() + RENEWAL));
            task.waiting(next).await;
            let asked_at = Instant::now();
            let until = services.database_time(LENGTH);
            let renewing = self.write(services, self.ours(), until);
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
        if !self.held.load(Ordering::Relaxed) {
            return;
        }
        let over = Expr::value(FREE);
        if timeout(PATIENCE, self.write(services, self.ours(), over))
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
        expires_at: Expr,
    ) -> Result<bool, DbErr> {
        let changed = lease::Entity::update_many()
            .col_expr(lease::Column::Holder, Expr::value(self.holder))
            .col_expr(lease::Column::ExpiresAt, expires_at)
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
