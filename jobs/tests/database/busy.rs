//! Statements that wait for a connection, because others have all of them.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use wharfinger_jobs::infra::db::Db;

use super::support::{TestDatabase, in_time};

/// How long the connections are taken, and how long the statement takes then: each is less than the server's limit of 10 s, and
/// both together are more.
const LONG: Duration = Duration::from_secs(7);

/// Given up before the server gives it up, it would be at work there with no place in the pool.
async fn the_wait_for_a_connection_is_not_the_statements(database: TestDatabase, sleep: &str) {
    let db = Db::connect(&database.url).await.unwrap();
    let write = db.pools().into_iter().find(|pool| pool.pool == "write");
    let all = (0..write.unwrap().most).map(|_| db.begin());
    let all = in_time("all connections", futures::future::try_join_all(all)).await;
    let all = all.unwrap();
    let statement = async {
        let sql = format!("SELECT {sleep}({})", LONG.as_secs());
        in_time("an answer", db.write().execute_unprepared(&sql)).await
    };
    let taken = async {
        tokio::time::sleep(LONG).await;
        for taken in all {
            taken.rollback().await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(statement, taken);
    answer.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_connection_is_not_the_statements_on_postgres() {
    let database = TestDatabase::postgres().await;
    the_wait_for_a_connection_is_not_the_statements(database, "pg_sleep").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_connection_is_not_the_statements_on_mariadb() {
    let database = TestDatabase::mariadb().await;
    the_wait_for_a_connection_is_not_the_statements(database, "SLEEP").await;
}
