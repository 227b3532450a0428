//! Messages of the queue are hints: one that no worker takes is followed by another, and one too many does nothing.

use std::time::{Duration, Instant};

use sea_orm::{ActiveValue::Set, EntityTrait as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{JobState, host};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::dispatch;
use wharfinger_jobs::queue::{Dispatch, JobQueue};

use crate::support::background::Background;
use crate::support::bare::{Bare, LATER};
use crate::support::stand_in::Registry;
use crate::support::{Fleet, Shape, eventually, in_time, on_every_database};

on_every_database!(
    a_job_that_no_worker_claims_is_handed_out_again,
    a_doubled_message_runs_one_attempt,
);

mod anywhere {
    use super::a_message_that_a_killed_worker_took_delays_its_job_by_seconds;

    crate::support::on_every_shape!(a_message_that_a_killed_worker_took_delays_its_job_by_seconds);
}

/// A worker that takes messages and does nothing but tell of them, until it is dropped.
struct Idle {
    came: mpsc::UnboundedReceiver<Dispatch>,
    running: tokio::task::JoinHandle<()>,
}

impl Idle {
    fn start(queue: &JobQueue, host: &str) -> Self {
        let (come, came) = mpsc::unbounded_channel();
        let handler = move |message: Dispatch| {
            come.send(message).unwrap();
            std::future::pending()
        };
        let (queue, host) = (queue.clone(), host.to_owned());
        let running = tokio::spawn(async move {
            let stop = CancellationToken::new();
            queue.run(&host, "idle", 2, handler, stop).await;
        });
        Self { came, running }
    }

    async fn next(&mut self) -> Dispatch {
        in_time("a message", self.came.recv()).await.unwrap()
    }

    /// `kill -9`
    async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }
}

/// A job is late soon where a worker could take it. The worker comes late, and finds one message: the newest.
async fn a_job_that_no_worker_claims_is_handed_out_again(shape: Shape) {
    let mut bare = Bare::start(shape).await;
    bare.stop_clock();
    let services = bare.services.clone();
    let _dispatcher = Background::start(|stop| dispatch::run(services, None, stop));
    let user = bare.user().await;
    let pull = async |host: Uuid, tag: &str| {
        let reference = format!("127.0.0.1:1/a:{tag}");
        bare.pull(user, Some(host), &reference).await.id
    };
    let handed_out = async |job: Uuid, push: i32| {
        let job = eventually(&format!("push {push}"), || async {
            Some(bare.job(job).await).filter(|job| job.push == push)
        })
        .await;
        assert_eq!(job.state, JobState::Queued);
        assert_eq!(job.dispatched_at, Some(bare.services.clock.now()));
    };
    // One runs on the busy host, which runs one at a time.
    let (free, busy, silent) = (
        bare.host(|_| ()).await,
        bare.host(|_| ()).await,
        bare.host(|_| ()).await,
    );
    let running = pull(busy, "running").await;
    bare.runs(running, bare.services.clock.now().after(LATER))
        .await;
    let jobs = [
        pull(free, "free").await,
        pull(busy, "busy").await,
        pull(silent, "silent").await,
    ];
    // The host runs one at a time: this one waits in the database.
    let next = pull(free, "next").await;
    for job in jobs {
        handed_out(job, 1).await;
    }
    let past = bare.services.clock.now().before(LATER);
    bare.change_host(silent, |host| host.last_seen_at = Set(Some(past)))
        .await;
    for push in 2..5 {
        bare.services.clock.advance(Duration::from_millis(2001));
        handed_out(jobs[0], push).await;
    }
    // All hosts have been looked at meanwhile.
    for job in &jobs[1..] {
        assert_eq!(bare.job(*job).await.push, 1);
    }
    bare.services.clock.advance(Duration::from_secs(26));
    for (job, push) in jobs.into_iter().zip([5, 2, 2]) {
        handed_out(job, push).await;
    }
    assert_eq!(bare.job(next).await.push, 0);

    eventually("the queue has its fifth message", || async {
        let queue = format!("{:?}", bare.services.queue);
        queue.contains("push: Some(5)").then_some(())
    })
    .await;
    let name = host::Entity::find_by_id(free).one(bare.services.db.read());
    let name = name.await.unwrap().unwrap().name;
    let mut late = Idle::start(&bare.services.queue, &name);
    let message = late.next().await;
    assert_eq!((message.job_id, message.push), (jobs[0], Some(5)));
    assert!(late.came.try_recv().is_err());
    late.kill().await;
}

/// The messages come when the job waits for its second attempt, which is not due.
async fn a_doubled_message_runs_one_attempt(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| settings.worker.concurrency = 1).await;
    let limits = Registry::start().await;
    limits.ask_for_patience(u32::MAX, 3600);
    let user = fleet.user("100").await;
    let reference = format!("{}/a:1", limits.address);
    let waits = fleet.pull(user, &reference).await.id;
    fleet.reaches(waits, JobState::Retrying).await;
    for push in 1..4 {
        let double = Dispatch {
            job_id: waits,
            push: Some(push),
            attempt: 0,
            traceparent: None,
        };
        let queue = &fleet.services.queue;
        queue.push(fleet.host(), &[double]).await.unwrap();
    }
    // The worker runs one at a time, and this one comes behind them.
    let repository = fleet.repository();
    fleet.push(&repository, "1", 50_000).await;
    fleet.pulled(user, &repository.tag("1")).await;
    let job = fleet.job(waits).await;
    assert_eq!((job.state, job.attempt), (JobState::Retrying, 1), "{job:?}");
    assert_eq!(fleet.attempts(waits).await.len(), 1);
    let cancelled = cancel_job(&fleet.services, Some(user), Some(waits));
    cancelled.await.unwrap();
    fleet.finish().await;
}

async fn a_message_that_a_killed_worker_took_delays_its_job_by_seconds(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 50_000).await;
    let user = fleet.user("100").await;
    // Its host stays online for a while.
    fleet.stop_worker().await;
    let job = fleet.pull(user, &repository.tag("1")).await.id;
    let mut killed = Idle::start(&fleet.services.queue, fleet.host());
    assert_eq!(killed.next().await.job_id, job);
    let lost = Instant::now();
    killed.kill().await;
    fleet.start_worker().await;
    let job = fleet.ends(job, JobState::Succeeded, 1).await;
    assert!(job.push > 1, "{job:?}");
    let took = lost.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    fleet.finish().await;
}
