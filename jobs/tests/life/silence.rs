//! Connections to the database that fall silent in the middle of a statement: the server has done it and nothing says so. Each
//! part of the background gives the connection up at its deadline, and goes on over another one.

use std::time::Duration;

use futures::future::{LocalBoxFuture, join_all};
use sea_orm::{ActiveValue::Set, EntityTrait as _};
use tokio::time::Instant;
use wharfinger_entity::{ImageState, JobErrorCode, JobState, Role, UserStatus, host, user};
use wharfinger_jobs::accounts::{Sessions, authenticate, create_api_token};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::testing::silent_proxy::SilentProxy;
use wharfinger_jobs::{dispatch, maintenance};

use crate::support::background::Background;
use crate::support::lock::Lock;
use crate::support::{Fleet, Shape, eventually, in_time, on_every_fleet};

on_every_fleet!(every_part_of_the_background_goes_on);

/// In fleets of their own, and at once: each waits a quarter of a minute for its deadline, and does nothing meanwhile.
async fn every_part_of_the_background_goes_on(shape: Shape) {
    let parts: [LocalBoxFuture<'_, ()>; 7] = [
        Box::pin(the_heartbeat_goes_on(shape)),
        Box::pin(the_dispatcher_goes_on(shape)),
        Box::pin(a_hung_renewal_lets_go_of_the_job(shape)),
        Box::pin(a_hung_settle_is_done_again(shape)),
        Box::pin(sessions_are_ended(shape)),
        Box::pin(housekeeping_goes_on(shape)),
        Box::pin(the_reconciler_goes_on(shape)),
    ];
    join_all(parts).await;
}

/// How long the answer to a statement is waited for, and a transaction may stand still (`jobs/src/infra/db/deadlines.rs`).
const STATEMENT: Duration = Duration::from_secs(12);
const TRANSACTION: Duration = Duration::from_secs(20);

/// How long the housekeeping is a process's that does not renew its lease.
const HOUSEKEEPING_LEASE: Duration = Duration::from_secs(6);

/// What a busy machine may add to that.
const SLACK: Duration = Duration::from_secs(8);

/// A fleet whose database part of its processes reach by way of a proxy. Nothing else uses the database.
struct Scene {
    fleet: Fleet,
    proxy: SilentProxy,
    /// The database by way of the proxy.
    through: String,
}

impl Scene {
    async fn of(mut fleet: Fleet) -> Self {
        fleet.stop_auditing().await;
        fleet.stop_dispatcher().await;
        let (proxy, through) = SilentProxy::of_url(fleet.database_url()).await;
        Self {
            fleet,
            proxy,
            through,
        }
    }

    /// Silences the connections while a statement with these words, which needs this table, waits for an answer; and the
    /// server answers then.
    async fn fall_silent_in(&self, table: &str, words: &[&str]) -> Instant {
        let lock = Lock::table(self.fleet.database_url(), table).await;
        self.fall_silent_behind(lock, words).await
    }

    async fn fall_silent_behind(&self, lock: Lock, words: &[&str]) -> Instant {
        lock.holds_up(words).await;
        self.proxy.silence_open();
        lock.release().await;
        Instant::now()
    }

    async fn services(&self) -> Services {
        self.fleet.process_at(&self.through).await
    }

    /// Housekeeping that reaches the database by way of the proxy.
    async fn housekeeping(&self) -> Background {
        let services = self.services().await;
        Background::start(|stop| maintenance::run(services, stop))
    }

    /// A dispatcher that reaches the database by way of the proxy.
    async fn dispatcher(&self) -> Background {
        let services = self.services().await;
        Background::start(|stop| dispatch::run(services, None, stop))
    }
}

/// Fails where it took longer than a deadline and an interval.
fn within(silent: Instant, bound: Duration) {
    let took = silent.elapsed();
    assert!(
        took < bound + SLACK,
        "it took {took:?}, and {bound:?} are allowed"
    );
}

async fn the_heartbeat_goes_on(shape: Shape) {
    let fleet = Fleet::idle(shape, |settings| {
        settings.host.offline_after = Duration::from_secs(6);
    });
    let mut scene = Scene::of(fleet.await).await;
    scene.fleet.start_worker_over(&scene.through).await;
    let silent = scene.fall_silent_in("hosts", &["UPDATE hosts"]).await;
    let then = scene.fleet.services.clock.now();
    eventually("another heartbeat", || async {
        let host = host::Entity::find().one(scene.fleet.services.db.read());
        let seen = host.await.unwrap().unwrap().last_seen_at;
        seen.filter(|seen| *seen > then)
    })
    .await;
    within(silent, STATEMENT + Duration::from_secs(1));
    scene.fleet.finish().await;
}

async fn the_dispatcher_goes_on(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    fleet.stop_worker().await;
    let user = fleet.user("100").await;
    let scene = Scene::of(fleet).await;
    let fleet = &scene.fleet;
    let job = fleet.pull(user, "127.0.0.1:1/nothing:1").await.id;
    let lock = Lock::table(fleet.database_url(), "paused_queues").await;
    let _dispatcher = scene.dispatcher().await;
    let silent = scene.fall_silent_behind(lock, &["FROM hosts"]).await;
    fleet.handed_out(job).await;
    within(silent, STATEMENT + Duration::from_secs(1));
}

/// Where an attempt runs at a time, the next one of the job begins when the hung one has let go of it.
async fn a_hung_renewal_lets_go_of_the_job(shape: Shape) {
    let fleet = Fleet::idle(shape, |settings| settings.worker.concurrency = 1);
    let mut scene = Scene::of(fleet.await).await;
    scene.fleet.start_worker_over(&scene.through).await;
    scene.fleet.start_dispatcher();
    let stuck = scene.fleet.stuck_pull().await;
    let words = ["UPDATE jobs", "lease_until", "progress"];
    let silent = scene.fall_silent_in("jobs", &words).await;
    stuck.proxy.open();
    scene.fleet.succeeds(stuck.job).await;
    within(silent, STATEMENT + Duration::from_secs(4));
    scene.fleet.finish().await;
}

/// The transaction that is silent keeps its rows locked until the server ends it.
async fn a_hung_settle_is_done_again(shape: Shape) {
    let fleet = Fleet::idle(shape, |settings| {
        // Takeovers by a shorter one would use up the attempts while the rows are locked.
        settings.worker.lease = Duration::from_secs(15);
    });
    let mut scene = Scene::of(fleet.await).await;
    scene.fleet.start_worker_over(&scene.through).await;
    scene.fleet.start_dispatcher();
    let stuck = scene.fleet.stuck_pull().await;
    let lock = Lock::rows(scene.fleet.database_url(), "users").await;
    stuck.proxy.open();
    // PostgreSQL shows the beginning of a statement: the settlement locks image, job and account by one.
    let words = ["SELECT engine_images.id AS e_id"];
    let silent = scene.fall_silent_behind(lock, &words).await;
    let job = scene.fleet.succeeds(stuck.job).await;
    within(silent, TRANSACTION + STATEMENT);
    let charges = scene.fleet.ledger(job.user_id).await;
    assert_eq!(charges.len(), 2, "a grant and one charge: {charges:?}");
    scene.fleet.finish().await;
}

async fn sessions_are_ended(shape: Shape) {
    let scene = Scene::of(Fleet::idle(shape, |_| ()).await).await;
    let (fleet, services) = (&scene.fleet, scene.services().await);
    let ada = fleet.account(fleet.new_user(Role::User, "0").await).await;
    let (_, secret) = create_api_token(&fleet.services, ada.id, "test", None)
        .await
        .unwrap();
    let caller = authenticate(&fleet.services.db, &secret, fleet.services.clock.now());
    let caller = caller.await.unwrap().unwrap();
    let sessions = Sessions::start(&services);
    let session = sessions.open(&caller);
    let words = ["FROM api_tokens"];
    let silent = scene.fall_silent_in("api_tokens", &words).await;
    let banned = user::ActiveModel {
        id: Set(ada.id),
        status: Set(UserStatus::Banned),
        ..Default::default()
    };
    user::Entity::update(banned)
        .exec(fleet.services.db.write())
        .await
        .unwrap();
    in_time("the session ends", session.revoked().cancelled()).await;
    within(silent, STATEMENT + Duration::from_secs(1));
}

async fn housekeeping_goes_on(shape: Shape) {
    let mut scene = Scene::of(Fleet::idle(shape, |_| ()).await).await;
    scene.fleet.start_worker().await;
    scene.fleet.start_dispatcher();
    let stuck = scene.fleet.stuck_pull().await;
    scene.fleet.stop_dispatcher().await;
    let job = stuck.job;
    scene.fleet.kill_worker().await;
    let lock = Lock::table(scene.fleet.database_url(), "jobs").await;
    let _housekeeping = scene.housekeeping().await;
    let words = ["FROM jobs", "lease_until <"];
    let silent = scene.fall_silent_behind(lock, &words).await;
    scene.fleet.let_lease_lapse(job).await;
    scene.fleet.reaches(job, JobState::Retrying).await;
    within(silent, STATEMENT + HOUSEKEEPING_LEASE);
    let attempts = scene.fleet.attempts(job).await;
    let lost = Some(JobErrorCode::WorkerLost);
    assert_eq!(attempts[0].error_code, lost, "{attempts:?}");
}

async fn the_reconciler_goes_on(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 50_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let mut scene = Scene::of(fleet).await;
    scene.fleet.start_worker_over(&scene.through).await;
    let words = ["FROM engine_images"];
    let silent = scene.fall_silent_in("engine_images", &words).await;
    scene.fleet.engine.remove(&id).await;
    scene.fleet.becomes(image.id, ImageState::Lost).await;
    within(silent, STATEMENT + Duration::from_secs(1));
    scene.fleet.finish().await;
}
