//! What is to be seen of a fleet, now or in the end.

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};
use uuid::Uuid;
use wharfinger_entity::{
    ImageState, JobErrorCode, JobState, LedgerEntryKind, Timestamp, engine_image, image, job,
    job_attempt, ledger_entry, user,
};
use wharfinger_jobs::queries::Viewer;

use super::super::{DEADLINE, eventually, in_time};
use super::Fleet;

impl Fleet {
    /// A user's row.
    pub(crate) async fn account(&self, id: Uuid) -> user::Model {
        let found = user::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// A user's ledger, oldest entry first.
    pub(crate) async fn ledger(&self, user: Uuid) -> Vec<ledger_entry::Model> {
        let entries = ledger_entry::Entity::find()
            .filter(ledger_entry::Column::UserId.eq(user))
            .order_by_asc(ledger_entry::Column::Number);
        entries.all(self.services.db.read()).await.unwrap()
    }

    /// The reasons of a user's refunds, oldest first.
    pub(crate) async fn refunds(&self, user: Uuid) -> Vec<String> {
        let entries = self.ledger(user).await.into_iter();
        entries
            .filter(|entry| entry.kind == LedgerEntryKind::Refund)
            .map(|entry| entry.reason.unwrap_or_default())
            .collect()
    }

    /// The live holdings of a user; with the nil id, the public ones.
    pub(crate) async fn holdings(&self, holder: Uuid) -> Vec<image::Model> {
        let held = image::Entity::find()
            .filter(image::Column::Holder.eq(holder))
            .filter(image::Column::Live.eq(1))
            .order_by_asc(image::Column::Id);
        held.all(self.services.db.read()).await.unwrap()
    }

    /// The exposed ports of the images that a user holds.
    pub(crate) async fn engine_images_of(&self, holder: Uuid) -> Vec<String> {
        let mut ports = Vec::new();
        for held in self.holdings(holder).await {
            let found = engine_image::Entity::find_by_id(held.engine_image_id);
            let found = found.one(self.services.db.read()).await.unwrap().unwrap();
            ports.push(found.exposed_ports.to_strings().join(" "));
        }
        ports
    }

    /// A job's row.
    pub(crate) async fn job(&self, id: Uuid) -> job::Model {
        let found = job::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// A holding's row.
    pub(crate) async fn image(&self, id: Uuid) -> image::Model {
        let found = image::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// A job's attempts, oldest first.
    pub(crate) async fn attempts(&self, id: Uuid) -> Vec<job_attempt::Model> {
        let administrator = Viewer {
            user_id: Uuid::nil(),
            admin: true,
        };
        wharfinger_jobs::queries::jobs::attempts(&self.services.db, administrator, &[id])
            .await
            .unwrap()
    }

    /// Watches a job until it has ended.
    pub(crate) async fn ended(&self, id: Uuid) -> job::Model {
        let frames = self.watches.follow(&self.services, id);
        let mut frames = std::pin::pin!(frames);
        let mut last = i32::MIN;
        let watching = async {
            while let Some(frame) = frames.next().await {
                assert!(frame.sequence > last, "{} after {last}", frame.sequence);
                last = frame.sequence;
            }
        };
        if tokio::time::timeout(DEADLINE, watching).await.is_err() {
            let (job, attempts) = (self.job(id).await, self.attempts(id).await);
            let queue = self.link.entries().await;
            panic!(
                "no end within {DEADLINE:?} of {job:#?}, {attempts:#?}\nthe queue has {queue:#?}"
            );
        }
        let job = self.job(id).await;
        assert!(job.state.is_final(), "{job:?}");
        job
    }

    /// Watches a job until it has ended in a state after so many attempts.
    pub(crate) async fn ends(&self, id: Uuid, state: JobState, attempts: i32) -> job::Model {
        let job = self.ended(id).await;
        assert_eq!((job.state, job.attempt), (state, attempts), "{job:?}");
        job
    }

    /// Watches a job until it has succeeded.
    pub(crate) async fn succeeds(&self, id: Uuid) -> job::Model {
        let job = self.ended(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        job
    }

    /// Watches a job until it has failed for this reason.
    pub(crate) async fn fails(&self, id: Uuid, reason: JobErrorCode) -> job::Model {
        let job = self.ended(id).await;
        let end = (job.state, job.error_code);
        assert_eq!(end, (JobState::Failed, Some(reason)), "{job:?}");
        job
    }

    /// Waits until bytes of a job's image arrive.
    pub(crate) async fn downloads(&self, id: Uuid) {
        let frames = self.watches.follow(&self.services, id);
        let mut frames = std::pin::pin!(frames);
        in_time(&format!("progress of job {id}"), async {
            while let Some(frame) = frames.next().await {
                assert!(!frame.state.is_final(), "{frame:?}");
                if frame.snapshot.downloaded > 0 {
                    return;
                }
            }
            panic!("the watch of job {id} ended");
        })
        .await;
    }

    /// Waits until the queue has a job.
    pub(crate) async fn handed_out(&self, id: Uuid) {
        eventually(&format!("job {id} is handed out"), || async {
            self.job(id).await.dispatched_at
        })
        .await;
    }

    /// Whether a message of a job waits in the queue for a worker.
    pub(crate) async fn waits_in_queue(&self, id: Uuid) -> bool {
        self.link.has_message_of(id).await
    }

    /// Takes the lock of an image on the engine, as a removal would: nothing settles until it is given back.
    pub(crate) async fn lock_image(&self, image_id: &str) {
        let until = self.services.clock.now().after(Duration::from_secs(100));
        self.set_lock(image_id, Some(Uuid::new_v4()), Some(until))
            .await;
    }

    /// Gives it back.
    pub(crate) async fn unlock_image(&self, image_id: &str) {
        self.set_lock(image_id, None, None).await;
    }

    async fn set_lock(&self, image_id: &str, token: Option<Uuid>, until: Option<Timestamp>) {
        let changed = engine_image::Entity::update_many()
            .set(engine_image::ActiveModel {
                lock_token: Set(token),
                lock_until: Set(until),
                ..Default::default()
            })
            .filter(engine_image::Column::ImageId.eq(image_id))
            .exec(self.services.db.write())
            .await;
        assert_eq!(changed.unwrap().rows_affected, 1);
    }

    /// A running job's worker counts as vanished from now on.
    pub(crate) async fn let_lease_lapse(&self, job: Uuid) {
        let changed = job::Entity::update_many()
            .set(job::ActiveModel {
                lease_until: Set(Some(Timestamp::from_micros(0))),
                ..Default::default()
            })
            .filter(job::Column::Id.eq(job))
            .filter(job::Column::State.eq(JobState::Running))
            .exec(self.services.db.write())
            .await;
        assert_eq!(changed.unwrap().rows_affected, 1);
    }

    /// Waits until a job is in a state.
    pub(crate) async fn reaches(&self, id: Uuid, state: JobState) -> job::Model {
        eventually(&format!("job {id} is {state:?}"), || async {
            Some(self.job(id).await).filter(|job| job.state == state)
        })
        .await
    }

    /// Waits until a holding is in a state.
    pub(crate) async fn becomes(&self, image: Uuid, state: ImageState) -> image::Model {
        eventually(&format!("image {image} is {state:?}"), || async {
            Some(self.image(image).await).filter(|image| image.state == state)
        })
        .await
    }
}
