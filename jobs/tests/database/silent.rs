//! Connections that neither answer nor close, while new ones are well.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;
use wharfinger_jobs::infra::db::{Db, is_unavailable};
use wharfinger_jobs::testing::silent_proxy::SilentProxy;

use super::support::{TestDatabase, in_time, insert};

/// Connections of the pool under test.
const CONNECTIONS: u32 = 5;

async fn connections_fall_silent(database: TestDatabase) {
    let (proxy, through) = SilentProxy::of_url(&database.url).await;
    let db = Db::connect_with(&through, CONNECTIONS).await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(&insert(0)).await.unwrap();
    // Idle ones, too.
    let others = futures::future::join_all((0..CONNECTIONS - 2).map(|_| db.begin()));
    for other in others.await {
        other.unwrap().rollback().await.unwrap();
    }

    proxy.silence_open();
    let began = Instant::now();
    let error = in_time("an error", tx.execute_unprepared(&insert(1))).await;
    let error = error.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    let error = in_time("no commit", tx.commit()).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    // Each connection of the pool is another one now, and none is held for ever.
    for round in 0..2 {
        let all = (1..CONNECTIONS - 1).map(async |number| {
            let tx = db.begin().await?;
            let number = 10 * round + i64::from(number);
            tx.execute_unprepared(&insert(number)).await?;
            tx.commit().await
        });
        for done in in_time("transactions", futures::future::join_all(all)).await {
            done.unwrap();
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
    // The server ends the transaction of the silent connection, and its row is free.
    in_time("the row", async {
        while let Err(error) = db.write().execute_unprepared(&insert(0)).await {
            println!("not yet: {error}");
        }
    })
    .await;
    let took = began.elapsed();
    assert!(took < Duration::from_mins(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_fall_silent_on_postgres() {
    connections_fall_silent(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_fall_silent_on_mariadb() {
    connections_fall_silent(TestDatabase::mariadb().await).await;
}
