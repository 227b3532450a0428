//! Rows that another transaction has locked. SQLite has no such locks.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, Database, EntityTrait as _, QuerySelect as _,
    TransactionTrait as _,
};
use tokio_util::sync::CancellationToken;
use wharfinger_entity::{JobState, job};
use wharfinger_jobs::maintenance;

use crate::support::bare::Bare;
use crate::support::{Shape, eventually, in_time, on_every_server};

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
        let job = bare.pull(user, Some(host), &reference).await;
        let running = job::ActiveModel {
            id: Set(job.id),
            state: Set(JobState::Running),
            attempt: Set(1),
            worker: Set(Some("vanished".to_owned())),
            lease_until: Set(Some(past)),
            ..Default::default()
        };
        running.update(bare.services.db.write()).await.unwrap();
        jobs.push(job.id);
    }
    let free = jobs.pop().unwrap();
    let beside = Database::connect(&bare.database.url).await.unwrap();
    let locking = beside.begin().await.unwrap();
    for id in &jobs {
        let locked = job::Entity::find_by_id(*id).lock_exclusive().one(&locking);
        locked.await.unwrap().unwrap();
    }
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(maintenance::run(bare.process().await, stop.clone()));
    let goes_on = eventually("the free job goes on", || async {
        Some(bare.job(free).await).filter(|job| job.state == JobState::Retrying)
    });
    tokio::time::timeout(Duration::from_mins(1), goes_on)
        .await
        .expect("it waits for the others");
    for id in &jobs {
        assert_eq!(bare.job(*id).await.state, JobState::Running);
    }
    locking.rollback().await.unwrap();
    for id in &jobs {
        eventually("the others go on", || async {
            Some(bare.job(*id).await).filter(|job| job.state == JobState::Retrying)
        })
        .await;
    }
    stop.cancel();
    in_time("it stops", keeping).await.unwrap();
}
