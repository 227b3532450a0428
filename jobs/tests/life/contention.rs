//! Many users who want and let go of the same few images at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, Statement,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Credits, JobState, image, job};
use wharfinger_jobs::error::{UserError, UserErrorCode};
use wharfinger_jobs::infra::db::{Db, LEAST_CONNECTIONS, Pool};
use wharfinger_jobs::{dispatch, maintenance};

use crate::support::background::Background;
use crate::support::bare::Bare;
use crate::support::stand_in::{Engine, Image, Registry};
use crate::support::{Fleet, Shape};

const USERS: usize = 50;
const TASKS: usize = 20;
const IMAGES: usize = 5;

/// The longest that a request may take, and wait for a row that somebody else has.
const LONGEST: Duration = Duration::from_secs(2);

/// Or so many times what one takes that is alone: a machine that does other things too is slow, and not the database's locks.
const TIMES_ALONE: u32 = 100;

/// How often the server is asked who waits for whom.
const SAMPLE: Duration = Duration::from_millis(20);

/// A gateway hands its requests to a pool of connections; so many at a time ask for one here, one for
/// each user: on two cores, and beside other tests, this test's own code is what more of them wait for.
/// What waits for its turn is this test's own queue, and no request yet.
const REQUESTS_AT_A_TIME: usize = 50;

/// Samples between two looks of the server at what the table has. It does that by itself once a minute; until then it knows
/// nothing of a new table, and reads each of a thousand jobs for each other one.
const ANALYZE_AFTER: u32 = 50;

/// Longer than all of it takes on a busy machine.
const DEADLINE: Duration = Duration::from_mins(10);

/// Each user has twenty tasks at once, which pull one of five images and let go of it again: a thousand pulls and hundreds
/// of removals on one host. No request fails or waits long, every job succeeds, and in the end nothing is left of it. The
/// engine and the registry are stand-ins that answer at once, so that the database is what everyone waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures how long requests wait: `make test-long` runs it alone"]
async fn fifty_users_want_the_same_five_images() {
    let registry = Registry::start().await;
    let engine = Engine::start(&registry).await;
    let mut fleet = Fleet::at_engine(Shape::Postgres, &engine.url, |settings| {
        settings.worker.concurrency = 8;
        settings.worker.lease = Duration::from_mins(1);
    })
    .await;
    // It reads every row; the end is checked.
    fleet.stop_auditing().await;
    let references = push_images(&registry);
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(fleet.user("100").await);
    }
    let waits = Waits::watch(&fleet);
    let times = Times::default();
    let crowd = Crowd {
        fleet: &fleet,
        times: &times,
        turns: tokio::sync::Semaphore::new(REQUESTS_AT_A_TIME),
        removed: AtomicUsize::new(0),
    };
    let lone = fleet.user("100").await;
    let before = crowd.alone(lone, &references[0]).await;
    let began = Instant::now();
    let tasks = users.iter().flat_map(|user| {
        let (crowd, references) = (&crowd, &references);
        (0..TASKS).map(move |task| crowd.task(*user, &references[task % IMAGES]))
    });
    let done = tokio::time::timeout(DEADLINE, join_all(tasks)).await;
    done.expect("every job ends");
    let took = began.elapsed();
    let alone = before.max(crowd.alone(lone, &references[0]).await);
    let longest_lock = waits.longest().await;
    let removed = crowd.removed.load(Ordering::Relaxed);
    println!(
        "{} pulls and {removed} removals in {took:?}; {times}; most that were alone {alone:?}; longest wait for a lock, as sampled: {longest_lock:?}; \
         deadlocks that the server broke and nobody noticed: {}",
        USERS * TASKS,
        deadlocks(fleet.services.db.read()).await,
    );
    assert!(longest_lock < LONGEST, "{longest_lock:?}");
    assert!(
        times.longest() < LONGEST.max(alone * TIMES_ALONE),
        "{times}"
    );
    for user in users {
        let account = fleet.account(user).await;
        assert_eq!(account.total, "100".parse().unwrap(), "{account:?}");
        assert_eq!(account.held, Credits::ZERO, "{account:?}");
    }
    fleet.finish().await;
    // With its worker, whatever was on its way is done.
    let (images, names) = engine.images();
    assert!(images.is_empty() && names.is_empty(), "{names:?}");
}

/// Pushes the images and returns their references.
fn push_images(registry: &Registry) -> Vec<String> {
    let push = |number: usize| {
        let bytes = 200_000 + 100_000 * number as u64;
        let image = Image::new(&format!("wanted {number}"), bytes, bytes);
        registry.push(&format!("wanted/{number}"), "1", &image, 0);
        format!("{}/wanted/{number}:1", registry.address)
    };
    (0..IMAGES).map(push).collect()
}

struct Crowd<'a> {
    fleet: &'a Fleet,
    times: &'a Times,
    turns: tokio::sync::Semaphore,
    removed: AtomicUsize,
}

impl Crowd<'_> {
    async fn task(&self, user: Uuid, reference: &str) {
        let pulled = self.request(self.fleet.try_pull(user, reference));
        let pulled = pulled.await.unwrap();
        let pulled = self.succeeds(pulled.id).await;
        let removal = self.request(self.fleet.try_remove(user, pulled.image_id.unwrap()));
        match removal.await {
            Ok(removal) => {
                self.succeeds(removal.id).await;
                self.removed.fetch_add(1, Ordering::Relaxed);
            }
            // Another task of this user was quicker.
            Err(UserError { code, .. }) => assert_eq!(code, UserErrorCode::NotRemovable),
        }
    }

    /// What most of a few requests take with nobody else about.
    async fn alone(&self, user: Uuid, reference: &str) -> Duration {
        let mut took = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let pulled = self.fleet.try_pull(user, reference).await.unwrap();
            took.push(began.elapsed());
            let pulled = self.succeeds(pulled.id).await;
            self.fleet.removed(user, pulled.image_id.unwrap()).await;
        }
        took.sort_unstable();
        took[took.len() / 2]
    }

    /// A job, once it has succeeded. It may have to wait for all the others.
    async fn succeeds(&self, id: Uuid) -> job::Model {
        let frames = self.fleet.watches.follow(&self.fleet.services, id);
        frames.for_each(|_| std::future::ready(())).await;
        let job = self.fleet.job(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        job
    }

    async fn request<T>(&self, request: impl Future<Output = T>) -> T {
        let _turn = self.turns.acquire().await.unwrap();
        let began = Instant::now();
        let answer = request.await;
        self.times.add(began.elapsed());
        answer
    }
}

/// How long requests took.
#[derive(Default)]
struct Times(Mutex<Vec<Duration>>);

impl Times {
    fn add(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
    }

    fn longest(&self) -> Duration {
        let times = self.0.lock().unwrap();
        times.iter().max().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.0.lock().unwrap().clone();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        let (half, most, longest) = (at(50), at(99), at(100));
        write!(
            f,
            "{} requests: half within {half:?}, 99 % within {most:?}, the longest {longest:?}",
            times.len()
        )
    }
}

/// Asks the server all the time how long the longest wait for a lock is.
struct Waits {
    stop: CancellationToken,
    watching: tokio::task::JoinHandle<Duration>,
}

impl Waits {
    fn watch(fleet: &Fleet) -> Self {
        let stop = CancellationToken::new();
        let (until, services) = (stop.clone(), Arc::new(fleet.services.clone()));
        let watching = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            let mut samples = 0;
            let mut ticks = tokio::time::interval(SAMPLE);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while until.run_until_cancelled(ticks.tick()).await.is_some() {
                longest = longest.max(longest_wait(services.db.read()).await);
                samples += 1;
                if samples % ANALYZE_AFTER == 0 {
                    let analyzed = services.db.read().execute_unprepared("ANALYZE jobs");
                    analyzed.await.unwrap();
                }
            }
            longest
        });
        Self { stop, watching }
    }

    async fn longest(self) -> Duration {
        self.stop.cancel();
        self.watching.await.unwrap()
    }
}

async fn longest_wait(db: &Pool) -> Duration {
    let seconds: f64 = value(
        db,
        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8 AS value
         FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
    Duration::from_secs_f64(seconds.max(0.0))
}

async fn deadlocks(db: &Pool) -> i64 {
    value(
        db,
        "SELECT deadlocks AS value FROM pg_stat_database WHERE datname = current_database()",
    )
    .await
}

async fn value<T: sea_orm::TryGetable>(db: &Pool, query: &str) -> T {
    let statement = Statement::from_string(db.get_database_backend(), query);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "value").unwrap()
}

/// Processes of the fleet in which a host is lost.
const PROCESSES: usize = 20;

/// How long it is counted and measured what happens while nothing happens.
const IDLE: Duration = Duration::from_secs(10);

/// What one process may ask the database for in a second while there is nothing to do.
const IDLE_STATEMENTS: f64 = 2.0;

/// A host with a thousand waiting pulls and two hundred holders is lost, in a fleet of twenty processes with few connections. No request waits
/// for that, of these holders or of others, and processes that have nothing to do ask the database for next to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures how long requests wait: `make test-long` runs it alone"]
async fn a_lost_host_keeps_no_request_waiting() {
    let bare = Bare::with(Shape::Postgres, |settings| {
        settings.host.offline_after = Duration::from_secs(2);
        settings.host.lost_after = Duration::from_secs(3);
    })
    .await;
    let (lost, other) = (bare.host(|_| ()).await, bare.host(|_| ()).await);
    let mut holders = Vec::new();
    for _ in 0..200 {
        holders.push(bare.user().await);
    }
    for holder in &holders {
        bare.hold(lost, Some(*holder), "127.0.0.1:1/held").await;
        for number in 0..5 {
            let reference = format!("127.0.0.1:1/wanted:{number}");
            bare.pull(*holder, Some(lost), &reference).await;
        }
    }
    let mut processes = Vec::new();
    let mut idle = Vec::new();
    for number in 1..=PROCESSES {
        let mut services = bare.process().await;
        let few = Db::connect_with(&bare.database.url, LEAST_CONNECTIONS).await;
        services.db = few.unwrap();
        let dispatching = services.clone();
        processes.push(Background::start(|stop| {
            dispatch::run(dispatching, Some(other), stop)
        }));
        processes.push(Background::start(|stop| maintenance::run(services, stop)));
        if number == 2 || number == PROCESSES {
            idle.push(statements_a_second(&bare).await);
        }
    }
    let quiet = Times::default();
    let _timeout = tokio::time::timeout(IDLE, requests(&bare, other, &holders, &quiet)).await;

    let past = bare.services.clock.now().before(Duration::from_mins(1));
    bare.change_host(lost, |host| host.last_seen_at = Set(Some(past)))
        .await;
    let busy = Times::default();
    let began = Instant::now();
    let given_up = async {
        while left_on(&bare, lost).await > 0 {
            tokio::time::sleep(SAMPLE).await;
        }
    };
    tokio::select! {
        () = requests(&bare, other, &holders, &busy) => {}
        given_up = tokio::time::timeout(DEADLINE, given_up) => given_up.expect("the host is given up"),
    }
    println!(
        "statements in a second while idle: {:.1} of 2 processes, {:.1} of {PROCESSES}; {quiet} while nothing happens; \
         {busy} while the host is given up, which took {:?} with its time of silence",
        idle[0],
        idle[1],
        began.elapsed(),
    );
    assert!(
        busy.longest() < LONGEST_OF_REQUESTS.max(quiet.longest() * 3),
        "{busy}, and while nothing happens {quiet}"
    );
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let more = (PROCESSES - 2) as f64;
    let each = (idle[1] - idle[0]) / more;
    assert!(each < IDLE_STATEMENTS, "{each} by each process: {idle:?}");
    for holder in &holders {
        let held = job::Entity::find()
            .filter(job::Column::UserId.eq(*holder))
            .filter(job::Column::HostId.eq(lost));
        let ended = held.all(bare.services.db.read()).await.unwrap();
        assert!(ended.iter().all(|job| job.state == JobState::Failed));
    }
    join_all(processes.into_iter().map(Background::stop)).await;
}

/// The longest that a request may wait for the housekeeping.
const LONGEST_OF_REQUESTS: Duration = Duration::from_secs(1);

/// Asks for images on a host, one after the other, for some of these users and for another one.
async fn requests(bare: &Bare, host: Uuid, users: &[Uuid], times: &Times) {
    let another = bare.user().await;
    for number in 0.. {
        let user = match number % 4 {
            0 => another,
            _ => users[number * 7 % users.len()],
        };
        let reference = format!("127.0.0.1:1/asked:{}", Uuid::new_v4().simple());
        let began = Instant::now();
        let asked = bare.try_pull(user, Some(host), &reference).await;
        times.add(began.elapsed());
        asked.unwrap();
    }
}

async fn left_on(bare: &Bare, host: Uuid) -> u64 {
    let db = bare.services.db.read();
    let held = image::Entity::find()
        .filter(image::Column::HostId.eq(host))
        .filter(image::Column::Live.eq(1))
        .count(db);
    let waiting = job::Entity::find()
        .filter(job::Column::HostId.eq(host))
        .filter(job::Column::Live.eq(1))
        .count(db);
    held.await.unwrap() + waiting.await.unwrap()
}

/// How many transactions the server ends in a second; a statement by itself is one.
async fn statements_a_second(bare: &Bare) -> f64 {
    const COUNT: &str = "SELECT xact_commit + xact_rollback AS value FROM pg_stat_database \
        WHERE datname = current_database()";
    let db = bare.services.db.read();
    // Those who have just come have asked for what they begin with, and the server counts late.
    tokio::time::sleep(IDLE).await;
    let (before, began): (i64, _) = (value(db, COUNT).await, Instant::now());
    tokio::time::sleep(IDLE).await;
    let after: i64 = value(db, COUNT).await;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let counted = (after - before) as f64;
    counted / began.elapsed().as_secs_f64()
}
