//! What DESIGN.md says must hold at every committed instant, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{EntityTrait as _, QueryOrder as _};
use uuid::Uuid;
use wharfinger_entity::{
    Credits, ImageState, ImageVisibility, JobState, LedgerEntryKind, image, job, job_attempt,
    ledger_entry, payment, user,
};
use wharfinger_jobs::infra::db::{Db, Transaction};

/// Checks invariants 1 to 3 in one snapshot of the database. Panics with what is wrong.
pub(crate) async fn check_invariants(db: &Db) {
    let tx = db.read().snapshot().await.unwrap();
    let snapshot = Snapshot::read(&tx).await;
    tx.rollback().await.unwrap();
    for user in &snapshot.users {
        snapshot.check_account(user);
    }
    for payment in &snapshot.payments {
        snapshot.check_payment(payment);
    }
    for holding in &snapshot.images {
        snapshot.check_holding(holding);
    }
    for job in &snapshot.jobs {
        snapshot.check_job(job);
    }
}

struct Snapshot {
    users: Vec<user::Model>,
    jobs: Vec<job::Model>,
    attempts: Vec<job_attempt::Model>,
    images: Vec<image::Model>,
    payments: Vec<payment::Model>,
    entries: Vec<ledger_entry::Model>,
}

impl Snapshot {
    async fn read(tx: &Transaction) -> Self {
        let entries = ledger_entry::Entity::find()
            .order_by_asc(ledger_entry::Column::UserId)
            .order_by_asc(ledger_entry::Column::Number);
        let attempts = job_attempt::Entity::find().order_by_asc(job_attempt::Column::Number);
        Self {
            users: user::Entity::find().all(tx).await.unwrap(),
            jobs: job::Entity::find().all(tx).await.unwrap(),
            attempts: attempts.all(tx).await.unwrap(),
            images: image::Entity::find().all(tx).await.unwrap(),
            payments: payment::Entity::find().all(tx).await.unwrap(),
            entries: entries.all(tx).await.unwrap(),
        }
    }

    fn check_account(&self, user: &user::Model) {
        let mut total = Credits::ZERO;
        let mut number = 0;
        for entry in self.entries.iter().filter(|entry| entry.user_id == user.id) {
            number += 1;
            total = total.checked_add(entry.amount).unwrap();
            assert_eq!(entry.number, number, "a gap in the ledger: {entry:?}");
            assert_eq!(entry.total_after, total, "the ledger's own sum: {entry:?}");
        }
        assert_eq!(
            user.total, total,
            "total is the sum of the ledger: {user:?}"
        );
        assert_eq!(user.ledger_entries, number, "{user:?}");

        let own = self.jobs.iter().filter(|job| job.user_id == user.id);
        let live = own.filter(|job| job.live.is_some());
        let held: i64 = live.map(|job| job.held.micro()).sum();
        assert_eq!(
            user.held.micro(),
            held,
            "held is the sum of the live jobs' holds"
        );
        assert!(
            user.total >= user.held,
            "available is never negative: {user:?}"
        );
    }

    /// One CHARGE makes a payment, one REFUND ends it, and it lives as long as its user holds the image.
    fn check_payment(&self, payment: &payment::Model) {
        let amounts = |kind| -> Vec<i64> {
            self.entries
                .iter()
                .filter(|entry| entry.payment_id == Some(payment.id) && entry.kind == kind)
                .map(|entry| entry.amount.micro())
                .collect()
        };
        let paid = payment.amount.micro();
        assert_eq!(amounts(LedgerEntryKind::Charge), [-paid], "{payment:?}");
        let refunds = if payment.live.is_some() {
            vec![]
        } else {
            vec![paid]
        };
        assert_eq!(amounts(LedgerEntryKind::Refund), refunds, "{payment:?}");
        if payment.live.is_some() {
            let of = (payment.user_id, payment.engine_image_id);
            assert!(
                self.live_holdings().contains(&of),
                "paid for nothing: {payment:?}"
            );
        }
    }

    fn check_holding(&self, holding: &image::Model) {
        let live = holding.live.is_some();
        assert_eq!(holding.state == ImageState::Held, live, "{holding:?}");
        assert_eq!(holding.released_at.is_none(), live, "{holding:?}");
        if live && holding.visibility == ImageVisibility::Private {
            let of = (holding.holder, holding.engine_image_id);
            assert_eq!(self.live_payments().get(&of), Some(&1), "{holding:?}");
            let everyones = (Uuid::nil(), holding.engine_image_id);
            assert!(
                !self.live_holdings().contains(&everyones),
                "held by one, and public: {holding:?}"
            );
        }
        if holding.visibility == ImageVisibility::Public {
            assert_eq!((holding.user_id, holding.holder), (None, Uuid::nil()));
            assert_eq!(holding.charge, Credits::ZERO, "{holding:?}");
        }
    }

    fn check_job(&self, job: &job::Model) {
        assert_eq!(job.state.is_final(), job.live.is_none(), "{job:?}");
        assert_eq!(job.state.is_final(), job.finished_at.is_some(), "{job:?}");
        assert_eq!(
            job.state == JobState::Running,
            job.lease_until.is_some(),
            "{job:?}"
        );
        assert_eq!(
            job.state == JobState::Running,
            job.worker.is_some(),
            "{job:?}"
        );
        assert!(job.attempt <= job.max_attempts, "{job:?}");
        if job.state.is_final() {
            assert_eq!(
                job.held,
                Credits::ZERO,
                "an ended job holds nothing: {job:?}"
            );
            assert_eq!(job.removal_of, None, "{job:?}");
        }
        let attempts = self
            .attempts
            .iter()
            .filter(|attempt| attempt.job_id == job.id);
        let mut number = 0;
        for attempt in attempts {
            // Between the first ten and the newest forty they may be forgotten, and nowhere else.
            let forgotten =
                number == 10 && attempt.number > 11 && attempt.number + 40 >= job.attempt;
            number = if forgotten {
                attempt.number
            } else {
                number + 1
            };
            assert_eq!(attempt.number, number, "{attempt:?}");
            let running = job.state == JobState::Running && number == job.attempt;
            assert_eq!(
                attempt.finished_at.is_none(),
                running,
                "{job:?} {attempt:?}"
            );
        }
        // An attempt is noted just after the job is taken.
        let taken = job.state == JobState::Running && number + 1 == job.attempt;
        assert!(number == job.attempt || taken, "{job:?} {number}");
    }

    fn live_payments(&self) -> BTreeMap<(Uuid, Uuid), usize> {
        let mut payments = BTreeMap::new();
        for payment in self
            .payments
            .iter()
            .filter(|payment| payment.live.is_some())
        {
            *payments
                .entry((payment.user_id, payment.engine_image_id))
                .or_default() += 1;
        }
        payments
    }

    fn live_holdings(&self) -> BTreeSet<(Uuid, Uuid)> {
        let live = self.images.iter().filter(|image| image.live.is_some());
        live.map(|image| (image.holder, image.engine_image_id))
            .collect()
    }
}
