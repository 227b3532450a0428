//! A caller goes away in the middle of BEGIN, a statement or COMMIT: the connection's next user is not in its transaction.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use sea_orm::ConnectionTrait as _;
use wharfinger_jobs::infra::db::Db;

use super::support::{TestDatabase, in_time, insert};

/// So many statements one after the other use each connection of the pool.
const EACH: u32 = 4;

/// Polls until it is done, or has waited so often. Then it is dropped.
async fn cut_off_after<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut waited = 0;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// What was acknowledged is there, in a transaction and without one.
async fn acknowledged_is_stored(database: &TestDatabase, db: &Db, next: &mut i64) {
    let numbers: Vec<i64> = (0..2 * EACH)
        .map(|number| *next + i64::from(number))
        .collect();
    *next += i64::from(2 * EACH);
    let (single, together) = numbers.split_at(numbers.len() / 2);
    let each = single.iter().map(|number| async {
        let sql = insert(*number);
        db.write().execute_unprepared(&sql).await
    });
    for done in in_time("single statements", futures::future::join_all(each)).await {
        done.unwrap();
    }
    for number in together {
        let transaction = async {
            let tx = db.begin().await?;
            tx.execute_unprepared(&insert(*number)).await?;
            tx.commit().await
        };
        in_time("a transaction", transaction).await.unwrap();
    }
    for number in &numbers {
        assert!(database.has(*number).await, "{number} is not stored");
    }
}

/// How often each number of waits is tried: how often there is something to wait for is a matter of time.
const ROUNDS: usize = 3;

/// More waits than BEGIN, a statement and COMMIT have.
const WAITS: usize = 10;

async fn a_caller_goes_away(database: TestDatabase) {
    let db = Db::connect_with(&database.url, EACH + 1).await.unwrap();
    let (mut next, mut cut_off) = (0, 0);
    for waits in (0..WAITS).cycle().take(ROUNDS * WAITS) {
        let number = next;
        next += 1;
        let whole = async {
            let tx = db.begin().await.unwrap();
            tx.execute_unprepared(&insert(number)).await.unwrap();
            tx.commit().await.unwrap();
        };
        let done = in_time("a transaction", cut_off_after(waits, whole)).await;
        acknowledged_is_stored(&database, &db, &mut next).await;
        match done {
            Some(()) => assert!(database.has(number).await),
            None => cut_off += 1,
        }
    }
    for waits in (0..WAITS).cycle().take(ROUNDS * WAITS) {
        let begun = in_time("BEGIN", cut_off_after(waits, db.begin())).await;
        cut_off += usize::from(begun.is_none());
        drop(begun);
        acknowledged_is_stored(&database, &db, &mut next).await;
    }
    assert!(cut_off > ROUNDS, "it hardly waited: {cut_off}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_goes_away_on_sqlite() {
    a_caller_goes_away(TestDatabase::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_goes_away_on_postgres() {
    a_caller_goes_away(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_goes_away_on_mariadb() {
    a_caller_goes_away(TestDatabase::mariadb().await).await;
}
