//! Messages of the queue are hints: one that no worker takes is followed by another.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wharfinger_entity::{JobState, host};
use wharfinger_jobs::dispatch;

use sea_orm::EntityTrait as _;

use crate::support::bare::Bare;
use crate::support::{Shape, eventually, in_time, on_every_shape};

on_every_shape!(a_job_that_no_worker_claims_is_handed_out_again);

/// The worker comes late, and finds one message of each job: the newest.
async fn a_job_that_no_worker_claims_is_handed_out_again(shape: Shape) {
    let mut bare = Bare::start(shape).await;
    bare.stop_clock();
    let host = bare.host(|_| ()).await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(dispatch::run(bare.services.clone(), None, stop.clone()));
    let user = bare.user().await;
    let job = bare.pull(user, Some(host), "127.0.0.1:1/a:1").await.id;
    // The host runs one at a time: this one waits in the database.
    let next = bare.pull(user, Some(host), "127.0.0.1:1/a:2").await.id;
    let mut wait = Duration::from_secs(2);
    for push in 1..4 {
        let handed_out = eventually("it is handed out", || async {
            let job = bare.job(job).await;
            (job.push == push).then_some(job)
        });
        let job = handed_out.await;
        let now = bare.services.clock.now();
        assert_eq!(
            (job.state, job.dispatched_at),
            (JobState::Queued, Some(now))
        );
        bare.services.clock.advance(wait + Duration::from_millis(1));
        wait *= 2;
    }
    eventually("the queue has its fourth message", || async {
        let queue = format!("{:?}", bare.services.queue);
        queue.contains("push: Some(4)").then_some(())
    })
    .await;
    assert_eq!(bare.job(next).await.push, 0);

    let name = host::Entity::find_by_id(host).one(bare.services.db.read());
    let name = name.await.unwrap().unwrap().name;
    let (come, mut came) = mpsc::unbounded_channel();
    let handler = move |message: wharfinger_jobs::queue::Dispatch| {
        let come = come.clone();
        async move {
            come.send(message).unwrap();
        }
    };
    let queue = bare.services.queue.clone();
    tokio::spawn(async move { queue.run(&name, "late", 2, handler, stop).await });
    let message = in_time("a message", came.recv()).await.unwrap();
    assert_eq!((message.job_id, message.push), (job, Some(4)));
    assert!(came.try_recv().is_err());
}
