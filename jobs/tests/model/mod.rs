//! Random sequences of operations by several users against a model of the rules.
//!
//! `operation` makes sequences up, `rules` is the model, `world` the real thing (acceptance, dispatch, workers, reconciler,
//! settlement, as they are) on stand-ins for engines and registry, `run` does a sequence on both and compares after every
//! step what `seen` sees.
//!
//! `WHARFINGER_MODEL_SEED` repeats a run, `WHARFINGER_MODEL_SEQUENCES` says how many.

mod operation;
mod rules;
mod run;
mod scene;
mod seen;
mod world;

use std::num::NonZero;
use std::thread;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use rand::RngCore as _;
use tokio::runtime::{Builder, Runtime};
use wharfinger_jobs::infra::db::Db;

use crate::support::Shape;
use crate::support::database::TestDatabase;
use crate::support::edges;
use operation::sequences;

/// Operations of a sequence at most.
const LENGTH: usize = 24;

/// Sequences of every run, and of the long form.
const FEW: u32 = 40;
const MANY: u32 = 10_000;

/// Sequences on the database servers, always the same.
const FIXED: u32 = 25;
const SEEDS: [u64; 2] = [1, 2];

/// Attempts at a smaller sequence that fails too, and milliseconds for all of them.
const SHRINKS: u32 = 300;
const SHRINK_TIME: u32 = 120_000;

/// New ones every time.
#[test]
fn sequences_on_sqlite() {
    check(Shape::Embedded, random_seed(), number_of_sequences(FEW));
}

#[test]
fn fixed_sequences_on_postgres() {
    for seed in SEEDS {
        check(Shape::Postgres, seed, FIXED);
    }
}

#[test]
fn fixed_sequences_on_mariadb() {
    for seed in SEEDS {
        check(Shape::MariaDb, seed, FIXED);
    }
}

/// As many threads as there are processors, each with seeds of its own.
#[test]
#[ignore = "the long form: `make test-long`"]
fn many_sequences_on_sqlite() {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let each = number_of_sequences(MANY).div_ceil(u32::try_from(threads).unwrap());
    let first = random_seed();
    thread::scope(|scope| {
        for number in 0..threads {
            let seed = first.wrapping_add(number as u64);
            scope.spawn(move || check(Shape::Embedded, seed, each));
        }
    });
}

#[test]
#[ignore = "the long form: `make test-long`"]
fn more_sequences_on_postgres() {
    check(Shape::Postgres, random_seed(), 500);
}

#[test]
#[ignore = "the long form: `make test-long`"]
fn more_sequences_on_mariadb() {
    check(Shape::MariaDb, random_seed(), 500);
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn random_seed() -> u64 {
    variable("WHARFINGER_MODEL_SEED").unwrap_or_else(|| rand::rng().next_u64())
}

fn number_of_sequences(usual: u32) -> u32 {
    variable("WHARFINGER_MODEL_SEQUENCES").unwrap_or(usual)
}

/// Runs so many sequences. Panics with the smallest one that fails, and with the seed that leads to it.
fn check(shape: Shape, seed: u64, cases: u32) {
    println!("{cases} sequences on {shape:?}, WHARFINGER_MODEL_SEED={seed}");
    let config = Config {
        cases,
        max_shrink_iters: SHRINKS,
        max_shrink_time: SHRINK_TIME,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let databases = runtime.block_on(Databases::prepare(shape));
    let outcome = runner.run(&sequences(LENGTH), |operations| {
        let ran = runtime.block_on(async {
            let (db, _database) = databases.one().await;
            run::run(db, &operations).await
        });
        ran.map_err(|wrong| {
            let step = wrong.lines().next().unwrap_or_default();
            println!(
                "WHARFINGER_MODEL_SEED={seed}: a sequence of {} fails at {step}",
                operations.len()
            );
            TestCaseError::fail(wrong)
        })
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, operations)) => panic!(
            "{shape:?}, WHARFINGER_MODEL_SEED={seed}: {reason}\nThe smallest sequence that fails:\n{operations:#?}"
        ),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    end(runtime);
}

/// Whatever was left behind ends with it.
fn end(runtime: Runtime) {
    runtime.shutdown_background();
}

/// A database for each sequence: on SQLite its own, a copy of one that is ready; on a server the same for all, since
/// making one takes longer than a sequence.
struct Databases {
    ready: TestDatabase,
    shared: Option<Db>,
}

impl Databases {
    async fn prepare(shape: Shape) -> Self {
        let ready = TestDatabase::create(shape).await;
        let db = ready.connect().await;
        db.migrate().await.unwrap();
        edges::enforce(&db).await;
        let shared = (shape != Shape::Embedded).then_some(db);
        Self { ready, shared }
    }

    async fn one(&self) -> (Db, Option<TestDatabase>) {
        if let Some(db) = &self.shared {
            return (db.clone(), None);
        }
        let copy = self.ready.copy();
        (copy.connect().await, Some(copy))
    }
}
