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
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Timestamp, lease};

use crate::infra::tasks::Task;
use crate::services::Services;

/// The lease of the housekeeping.
const NAME: &str = "housekeeping";

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
    holder: Uuid,
    /// Whether it was taken, and not lost since.
    held: AtomicBool,
}

impl Lease {
    pub(crate) fn new() -> Self {
        Self {
            holder: Uuid::now_v7(),
            held: AtomicBool::new(false),
        }
    }

    /// Takes the lease if no other process holds it. If one does, returns when to look again.
    pub(crate) async fn take(&self, services: &Services) -> Result<Option<Duration>, DbErr> {
        let free = lease::Column::ExpiresAt
            .into_expr()
            .lt(services.database_time(Duration::ZERO));
        let until = services.database_time(LENGTH);
        let free = self.ours().add(free);
        if self.write(services, free, until, PATIENCE).await? {
            self.held.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let row: Option<(Timestamp, Timestamp)> = lease::Entity::find()
            .select_only()
            .column(lease::Column::ExpiresAt)
            .expr(services.database_time(Duration::ZERO))
            .filter(lease::Column::Name.eq(NAME))
            .into_tuple()
            .one(&services.db.read().within(PATIENCE))
            .await?;
        let Some((expires_at, now)) = row else {
            self.begin(services).await?;
            return Ok(Some(Duration::ZERO));
        };
        Ok(Some(expires_at.since(now) + MOMENT))
    }

    /// Makes the row, free to be taken, unless another process was quicker.
    async fn begin(&self, services: &Services) -> Result<(), DbErr> {
        let row = lease::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(NAME.to_owned()),
            holder: Set(self.holder),
            expires_at: Set(FREE),
        };
        lease::Entity::insert(row)
            .on_conflict(
                OnConflict::column(lease::Column::Name)
                    .do_nothing_on([lease::Column::Name])
                    .to_owned(),
            )
            .exec_without_returning(&services.db.write().within(PATIENCE))
            .await?;
        Ok(())
    }

    fn ours(&self) -> Condition {
        Condition::any().add(lease::Column::Holder.eq(self.holder))
    }

    /// Renews the lease until it is lost, or could not be renewed in time.
    pub(crate) async fn keep(&self, services: &Services, task: &Task) {
        let mut given_up_at = Instant::now() + 2 * PATIENCE;
        while Instant::now() < given_up_at {
            let next = sleep_until(given_up_at.min(Instant::now() + RENEWAL));
            task.waiting(next).await;
            let asked_at = Instant::now();
            let within = PATIENCE.min(given_up_at.saturating_duration_since(asked_at));
            let until = services.database_time(LENGTH);
            match self.write(services, self.ours(), until, within).await {
                Ok(true) => given_up_at = asked_at + 2 * PATIENCE,
                Ok(false) => break,
                Err(error) => tracing::debug!(%error, "could not renew the lease"),
            }
        }
        self.held.store(false, Ordering::Relaxed);
    }

    /// Lets another process take the lease at once, if this one holds it.
    pub(crate) async fn give_up(&self, services: &Services) {
        if !self.held.load(Ordering::Relaxed) {
            return;
        }
        let given_up = self.write(services, self.ours(), Expr::value(FREE), PATIENCE);
        if let Err(error) = given_up.await {
            tracing::debug!(
                %error,
                "could not give the lease up: another process takes it when it is over"
            );
        }
    }

    /// Makes this process the holder. What a crash of the database forgets is taken again: it need not wait for the disk.
    async fn write(
        &self,
        services: &Services,
        condition: Condition,
        expires_at: Expr,
        within: Duration,
    ) -> Result<bool, DbErr> {
        let changed = lease::Entity::update_many()
            .col_expr(lease::Column::Holder, Expr::value(self.holder))
            .col_expr(lease::Column::ExpiresAt, expires_at)
            .filter(lease::Column::Name.eq(NAME))
            .filter(condition)
            .exec(&services.db.relaxed().within(within))
            .await?;
        Ok(changed.rows_affected == 1)
    }
}

/// The rounds of one loop of the housekeeping.
pub(crate) struct Rounds {
    ticks: Interval,
    task: Task,
    lost: CancellationToken,
}

impl Rounds {
    /// The rounds of one loop, until this process has `lost` the lease. Each loop is reported by itself.
    pub(crate) fn new(period: Duration, task: &Task, lost: &CancellationToken) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            task: task.another(),
            lost: lost.clone(),
        }
    }

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
