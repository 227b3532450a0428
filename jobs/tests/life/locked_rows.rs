//! Rows that another transaction has locked. SQLite has no such locks.

use std::time::Duration;

use sea_orm::{Database, EntityTrait as _, QuerySelect as _, TransactionTrait as _};
use wharfinger_entity::{JobState, job};

use crate::support::bare::Bare;
use crate::support::{Shape, on_every_server};

on_every_server!(a_job_whose_row_is_locked_keeps_no_other_waiting);

/// Another transaction has the rows of many jobs of vanished workers, for as long as it likes: waited for one after the
/// other, they would keep the last one waiting for minutes.
async fn a_job_whose_row_is_locked_keeps_no_other_waiting(shape: Shape) {
    let bare = Bare::start(shape).await;
    let host = bare.host(|_| ()).await;
    let past = bare.services.clock.now().before(Duration::from_mins(1));
    let mut jobs = Vec::new();
    for number in 0..16 {
        let user = bare.user().await;
        let reference = format!("127.0.0.1:1/vanished:{number}");
        let job = bare.pull(user, Some(host), &reference).await.id;
        bare.runs(job, past).await;
        jobs.push(job);
    }
    let free = jobs.pop().unwrap();
    let beside = Database::connect(&bare.database.url).await.unwrap();
    let locking = beside.begin().await.unwrap();
    for id in &jobs {
        let locked = job::Entity::find_by_id(*id).lock_exclusive().one(&locking);
        locked.await.unwrap().unwrap();
    }
    let keeping = bare.housekeeping().await;
    let goes_on = bare.reaches(free, JobState::Retrying);
    let in_time = tokio::time::timeout(Duration::from_mins(1), goes_on).await;
    in_time.expect("it waits for the others");
    for id in &jobs {
        assert_eq!(bare.job(*id).await.state, JobState::Running);
    }
    locking.rollback().await.unwrap();
    for id in &jobs {
        bare.reaches(*id, JobState::Retrying).await;
    }
    keeping.stop().await;
}
