//! Credits: holds, charges, refunds and grants. Nothing else writes `users.total`, `users.held`, `jobs.held`, `payments`
//! or `ledger_entries`.
//!
//! The user's row is the lock: an [`Account`] is taken with `SELECT … FOR UPDATE`, changed in memory, and saved once in
//! the same transaction. Lock order everywhere: engine image, then job, then account.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{Credits, LedgerEntryKind, Timestamp, job, ledger_entry, payment, user};

use crate::infra::db::{Transaction, for_update, insert};

/// Why an account could not be changed. The transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// More than there is.
    #[error("needs {needed} credits, and {available} are available")]
    Insufficient {
        /// The credits that it would take.
        needed: Credits,
        /// The credits that are available.
        available: Credits,
    },
    /// No such user.
    #[error("user {0} does not exist")]
    NoSuchUser(Uuid),
    /// The sum does not fit 64 bits.
    #[error("the amount is out of range")]
    Overflow,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// The reason for a movement of credits.
#[derive(Clone, Debug, Default)]
pub struct Purpose {
    /// The job that moved it.
    pub job_id: Option<Uuid>,
    /// The image reference.
    pub reference: Option<String>,
    /// In words.
    pub reason: Option<String>,
}

/// A user's credits at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The sum of the ledger.
    pub total: Credits,
    /// Reserved by jobs that have not ended.
    pub held: Credits,
}

impl Balance {
    /// Credits that can still be spent.
    pub fn available(self) -> Credits {
        Credits::from_micro(self.total.micro() - self.held.micro())
    }
}

impl From<&user::Model> for Balance {
    fn from(user: &user::Model) -> Self {
        Self {
            total: user.total,
            held: user.held,
        }
    }
}

/// A user's credits, locked until the transaction ends.
pub(crate) struct Account<'t> {
    tx: &'t Transaction,
    user: user::Model,
    now: Timestamp,
    changed: bool,
}

impl<'t> Account<'t> {
    /// Locks the user's credits.
    pub(crate) async fn lock(
        tx: &'t Transaction,
        user_id: Uuid,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let user = for_update(tx, user::Entity::find_by_id(user_id))
            .one(tx)
            .await?
            .ok_or(LedgerError::NoSuchUser(user_id))?;
        Ok(Self::locked(tx, user, now))
    }

    /// The credits of a user whose row is locked.
    pub(crate) fn locked(tx: &'t Transaction, user: user::Model, now: Timestamp) -> Self {
        Self {
            tx,
            user,
            now,
            changed: false,
        }
    }

    /// The user as locked, with the changes so far.
    pub(crate) fn user(&self) -> &user::Model {
        &self.user
    }

    /// The instant of its changes.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Credits that can still be spent, with the changes so far.
    pub(crate) fn available(&self) -> Credits {
        Balance::from(&self.user).available()
    }

    fn check_available(&self, needed: Credits) -> Result<(), LedgerError> {
        let available = self.available();
        if needed > available {
            return Err(LedgerError::Insufficient { needed, available });
        }
        Ok(())
    }

    /// The ordinal of a new acceptance.
    pub(crate) fn next_ordinal(&mut self) -> i64 {
        self.changed = true;
        self.user.accepted_jobs += 1;
        self.user.accepted_jobs
    }

    /// Makes a job hold exactly `to`, instead of `from`. The caller stores `job` in the same transaction.
    pub(crate) fn set_hold(
        &mut self,
        job: &mut job::ActiveModel,
        from: Credits,
        to: Credits,
    ) -> Result<(), LedgerError> {
        let more = sub(to, from)?;
        self.check_available(more)?;
        self.changed |= more != Credits::ZERO;
        self.user.held = add(self.user.held, more)?;
        job.held = Set(to);
        Ok(())
    }

    /// Releases what a job holds. The caller stores the job, which ends, in the same transaction.
    pub(crate) fn release(&mut self, job: &mut job::Model) -> Result<(), LedgerError> {
        self.changed |= job.held != Credits::ZERO;
        self.user.held = sub(self.user.held, job.held)?;
        job.held = Credits::ZERO;
        Ok(())
    }

    /// The live payment for an image, if there is one.
    pub(crate) async fn payment_for(
        &self,
        engine_image_id: Uuid,
    ) -> Result<Option<payment::Model>, LedgerError> {
        Ok(payment::Entity::find()
            .filter(payment::Column::UserId.eq(self.user.id))
            .filter(payment::Column::EngineImageId.eq(engine_image_id))
            .filter(payment::Column::Live.eq(1))
            .one(self.tx)
            .await?)
    }

    /// Charges for an image. Fails, changing nothing, when it is more than is available.
    pub(crate) async fn charge(
        &mut self,
        engine_image_id: Uuid,
        amount: Credits,
        purpose: Purpose,
    ) -> Result<(), LedgerError> {
        self.check_available(amount)?;
        let payment = payment::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(self.user.id),
            engine_image_id: Set(engine_image_id),
            amount: Set(amount),
            live: Set(Some(1)),
        };
        let payment: payment::Model = insert(self.tx, payment).await?;
        self.enter(
            LedgerEntryKind::Charge,
            sub(Credits::ZERO, amount)?,
            Some(payment.id),
            purpose,
        )
        .await
        .map(drop)
    }

    /// Gives back exactly what was paid.
    pub(crate) async fn refund(
        &mut self,
        payment: payment::Model,
        purpose: Purpose,
    ) -> Result<(), LedgerError> {
        let (id, amount) = (payment.id, payment.amount);
        let mut payment = payment.into_active_model();
        payment.live = Set(None);
        payment.update(self.tx).await?;
        self.enter(LedgerEntryKind::Refund, amount, Some(id), purpose)
            .await
            .map(drop)
    }

    /// Gives credits as a GRANT, or takes them back as an ADJUSTMENT, never more than are available.
    pub(crate) async fn grant(
        &mut self,
        amount: Credits,
        purpose: Purpose,
    ) -> Result<ledger_entry::Model, LedgerError> {
        self.check_available(sub(Credits::ZERO, amount)?)?;
        let kind = if amount.is_negative() {
            LedgerEntryKind::Adjustment
        } else {
            LedgerEntryKind::Grant
        };
        self.enter(kind, amount, None, purpose).await
    }

    async fn enter(
        &mut self,
        kind: LedgerEntryKind,
        amount: Credits,
        payment_id: Option<Uuid>,
        purpose: Purpose,
    ) -> Result<ledger_entry::Model, LedgerError> {
        self.changed = true;
        self.user.total = add(self.user.total, amount)?;
        self.user.ledger_entries += 1;
        let entry = ledger_entry::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(self.user.id),
            number: Set(self.user.ledger_entries),
            kind: Set(kind),
            amount: Set(amount),
            total_after: Set(self.user.total),
            job_id: Set(purpose.job_id),
            payment_id: Set(payment_id),
            reference: Set(purpose.reference),
            reason: Set(purpose.reason),
            created_at: Set(self.now),
        };
        Ok(insert(self.tx, entry).await?)
    }

    /// Stores the totals, where they changed. Everything before is undone unless this is called and the transaction commits.
    pub(crate) async fn save(self) -> Result<Balance, LedgerError> {
        let balance = Balance::from(&self.user);
        if !self.changed {
            return Ok(balance);
        }
        user::Entity::update_many()
            .set(user::ActiveModel {
                total: Set(self.user.total),
                held: Set(self.user.held),
                ledger_entries: Set(self.user.ledger_entries),
                accepted_jobs: Set(self.user.accepted_jobs),
                ..Default::default()
            })
            .filter(user::Column::Id.eq(self.user.id))
            .exec(self.tx)
            .await?;
        Ok(balance)
    }
}

fn add(a: Credits, b: Credits) -> Result<Credits, LedgerError> {
    a.checked_add(b).ok_or(LedgerError::Overflow)
}

fn sub(a: Credits, b: Credits) -> Result<Credits, LedgerError> {
    a.checked_sub(b).ok_or(LedgerError::Overflow)
}
