//! The queue's promises, kept by both implementations; and what Redis alone can do to one of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_jobs::queue::{Dispatch, JobQueue, MemoryQueue, RedisQueue};

use crate::support::{DEADLINE, PrivateRedis, SlowRedis, command, prefix, redis_url, soon, until};

const HOST: &str = "host-1";

fn memory() -> JobQueue {
    JobQueue::Memory(MemoryQueue::new())
}

fn redis() -> JobQueue {
    redis_at(&redis_url(), &prefix())
}

fn redis_at(url: &str, prefix: &str) -> JobQueue {
    JobQueue::Redis(RedisQueue::connect(url, prefix).unwrap())
}

/// A worker whose handlers say that they started, and return when they are let.
struct Worker {
    started: mpsc::UnboundedReceiver<Dispatch>,
    gate: Arc<Semaphore>,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Worker {
    fn closed(queue: &JobQueue, name: &'static str, concurrency: usize) -> Self {
        Self::on(HOST, queue, name, concurrency)
    }

    fn on(host: &'static str, queue: &JobQueue, name: &'static str, concurrency: usize) -> Self {
        let (start, started) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let stop = CancellationToken::new();
        let handler = {
            let gate = gate.clone();
            move |dispatch: Dispatch| {
                let (start, gate) = (start.clone(), gate.clone());
                async move {
                    start.send(dispatch.clone()).unwrap();
                    gate.acquire().await.unwrap().forget();
                    assert_ne!(dispatch.traceparent.as_deref(), Some("panic"));
                }
            }
        };
        let (queue, token) = (queue.clone(), stop.clone());
        let run =
            tokio::spawn(async move { queue.run(host, name, concurrency, handler, token).await });
        Self {
            started,
            gate,
            stop,
            run,
        }
    }

    fn open(queue: &JobQueue, name: &'static str, concurrency: usize) -> Self {
        let worker = Self::closed(queue, name, concurrency);
        worker.gate.add_permits(Semaphore::MAX_PERMITS / 2);
        worker
    }

    async fn next_message(&mut self) -> Dispatch {
        soon("a handler starts", self.started.recv()).await.unwrap()
    }

    async fn next(&mut self) -> Uuid {
        self.next_message().await.job_id
    }

    async fn next_n(&mut self, n: usize) -> Vec<Uuid> {
        let mut ids = Vec::with_capacity(n);
        for _ in 0..n {
            ids.push(self.next().await);
        }
        ids
    }

    async fn end(self) {
        self.stop.cancel();
        soon("the worker ends", self.run).await.unwrap();
    }
}

fn message(job_id: Uuid, push: i32) -> Dispatch {
    Dispatch {
        job_id,
        push: Some(push),
        attempt: 0,
        traceparent: None,
    }
}

/// The first message of a new job.
fn new_message() -> Dispatch {
    message(Uuid::now_v7(), 1)
}

async fn push(queue: &JobQueue) -> Uuid {
    let message = new_message();
    queue
        .push(HOST, std::slice::from_ref(&message))
        .await
        .unwrap();
    message.job_id
}

/// Pushes until a push is taken, as the dispatcher does.
async fn push_in_the_end(queue: &JobQueue) -> Uuid {
    let job_id = Uuid::now_v7();
    let mut number = 0;
    let deadline = Instant::now() + DEADLINE;
    loop {
        number += 1;
        match queue.push(HOST, &[message(job_id, number)]).await {
            Ok(()) => return job_id,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

async fn an_idle_worker_wakes_at_once(queue: JobQueue) {
    let mut worker = Worker::open(&queue, "w", 4);
    push(&queue).await;
    worker.next().await;
    let mut waits = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        let job_id = push(&queue).await;
        assert_eq!(worker.next().await, job_id);
        waits.push(start.elapsed());
    }
    waits.sort();
    println!("push to handler: p50 {:?}, max {:?}", waits[25], waits[49]);
    // A heartbeat, which would find the job too, comes every 2 seconds.
    assert!(waits[25] < Duration::from_millis(100), "{waits:?}");
    worker.end().await;
}

async fn every_job_runs(queue: JobQueue) {
    let mut pushed = HashSet::new();
    for _ in 0..200 {
        pushed.insert(push(&queue).await);
    }
    let mut worker = Worker::open(&queue, "w", 4);
    assert_eq!(HashSet::from_iter(worker.next_n(200).await), pushed);
    worker.end().await;
}

async fn hosts_are_apart(queue: JobQueue) {
    let mut worker = Worker::open(&queue, "w", 1);
    let elsewhere = new_message();
    queue
        .push("host-2", std::slice::from_ref(&elsewhere))
        .await
        .unwrap();
    let here = push(&queue).await;
    assert_eq!(worker.next().await, here);
    let mut other = Worker::on("host-2", &queue, "w2", 1);
    other.gate.add_permits(1);
    assert_eq!(other.next().await, elsewhere.job_id);
    assert!(worker.started.try_recv().is_err());
    worker.end().await;
    other.end().await;
}

/// However often a job is handed out while it waits, the queue has its newest message alone, in the place of the first.
async fn a_message_takes_the_place_of_the_one_before_it(queue: JobQueue) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let both = [message(first, 1), message(second, 1)];
    queue.push(HOST, &both).await.unwrap();
    for number in 2..5 {
        queue.push(HOST, &[message(first, number)]).await.unwrap();
    }
    let mut worker = Worker::open(&queue, "w", 1);
    let came = [worker.next_message().await, worker.next_message().await];
    assert_eq!(came, [message(first, 4), message(second, 1)]);
    // One that was dealt with makes room for the next.
    queue.push(HOST, &[message(first, 5)]).await.unwrap();
    assert_eq!(worker.next_message().await, message(first, 5));
    worker.end().await;
}

async fn no_more_handlers_than_allowed(queue: JobQueue) {
    let mut worker = Worker::closed(&queue, "w", 2);
    for _ in 0..6 {
        push(&queue).await;
    }
    worker.next_n(2).await;
    for _ in 0..4 {
        // A round trip through the queue gives a third handler every chance to start.
        queue.health().await.unwrap();
        assert!(worker.started.try_recv().is_err());
        worker.gate.add_permits(1);
        worker.next().await;
    }
    worker.gate.add_permits(2);
    worker.end().await;
}

async fn a_busy_worker_hoards_nothing(queue: JobQueue) {
    let mut busy = Worker::closed(&queue, "busy", 1);
    push(&queue).await;
    busy.next().await;
    let mut pushed = HashSet::new();
    for _ in 0..3 {
        pushed.insert(push(&queue).await);
    }
    let mut idle = Worker::open(&queue, "idle", 1);
    assert_eq!(HashSet::from_iter(idle.next_n(3).await), pushed);
    busy.gate.add_permits(1);
    busy.end().await;
    idle.end().await;
}

async fn a_panic_ends_only_its_handler(queue: JobQueue) {
    let mut worker = Worker::open(&queue, "w", 1);
    let panics = Dispatch {
        traceparent: Some("panic".to_owned()),
        ..new_message()
    };
    queue
        .push(HOST, std::slice::from_ref(&panics))
        .await
        .unwrap();
    assert_eq!(worker.next().await, panics.job_id);
    let job_id = push(&queue).await;
    assert_eq!(worker.next().await, job_id);
    worker.end().await;
}

async fn stop_lets_the_running_end_and_leaves_the_rest(queue: JobQueue) {
    let mut worker = Worker::closed(&queue, "w", 1);
    let mut rest = HashSet::from([push(&queue).await, push(&queue).await]);
    assert!(rest.remove(&worker.next().await));
    worker.stop.cancel();
    queue.health().await.unwrap();
    assert!(!worker.run.is_finished());
    worker.gate.add_permits(2);
    soon("the worker ends", worker.run).await.unwrap();
    assert!(worker.started.try_recv().is_err());

    let mut next = Worker::open(&queue, "w", 1);
    assert!(rest.contains(&next.next().await));
    next.end().await;
}

async fn a_stopped_idle_worker_ends_and_its_name_serves_again(queue: JobQueue) {
    for _ in 0..2 {
        let mut worker = Worker::open(&queue, "same-name", 1);
        let job_id = push(&queue).await;
        assert_eq!(worker.next().await, job_id);
        worker.end().await;
    }
}

macro_rules! suite {
    ($implementation:ident: $($test:ident)*) => {
        mod $implementation {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::$implementation()).await;
                }
            )*
        }
    };
    ($($test:ident)*) => {
        suite!(memory: $($test)*);
        suite!(redis: $($test)*);
    };
}

suite! {
    an_idle_worker_wakes_at_once
    every_job_runs
    hosts_are_apart
    a_message_takes_the_place_of_the_one_before_it
    no_more_handlers_than_allowed
    a_busy_worker_hoards_nothing
    a_panic_ends_only_its_handler
    stop_lets_the_running_end_and_leaves_the_rest
    a_stopped_idle_worker_ends_and_its_name_serves_again
}

/// What it had taken is lost with it: the dispatcher hands it out again.
#[tokio::test]
async fn memory_serves_another_after_a_dropped_worker() {
    let queue = memory();
    let mut worker = Worker::closed(&queue, "w", 1);
    let lost = push(&queue).await;
    worker.next().await;
    worker.run.abort();
    assert!(worker.run.await.unwrap_err().is_cancelled());
    queue.push(HOST, &[message(lost, 2)]).await.unwrap();
    let mut next = Worker::open(&queue, "w", 1);
    assert_eq!(next.next_message().await, message(lost, 2));
    next.end().await;
}

#[tokio::test]
async fn redis_keeps_a_long_handler_to_one_worker() {
    let queue = redis();
    let mut busy = Worker::closed(&queue, "busy", 1);
    let mut other = Worker::open(&queue, "other", 1);
    push(&queue).await;
    let long = tokio::select! { id = busy.next() => Some(id), _ = other.next() => None };
    if long.is_some() {
        // Longer than the missed heartbeats that would take the job away.
        let taken = tokio::time::timeout(Duration::from_secs(8), other.started.recv()).await;
        assert!(taken.is_err(), "a live worker's job went to another");
    }
    busy.gate.add_permits(1);
    busy.end().await;
    other.end().await;
}

/// A wake just before a heartbeat is due, so that it comes due during the fetch that the wake began. Answers take their
/// time, so that there is a time to hit.
#[tokio::test]
async fn redis_hears_of_a_worker_that_was_woken_when_its_heartbeat_was_due() {
    const DELAY: Duration = Duration::from_millis(400);
    let (slow, prefix) = (SlowRedis::start(DELAY).await, prefix());
    let queue = redis_at(&slow.url, &prefix);
    let mut heartbeats = heartbeats(&prefix).await;
    let worker = Worker::open(&queue, "w", 1);
    let wake = format!("{prefix}:queue:{HOST}:wake");
    for _ in 0..3 {
        let heard = soon("a heartbeat", heartbeats.recv()).await.unwrap();
        // Two answers later the next is two seconds away. The wake comes as late as an answer.
        tokio::time::sleep_until(heard + Duration::from_secs(2) + DELAY / 2).await;
        command(&redis_url(), &["PUBLISH", &wake, ""]).await;
    }
    soon("the next heartbeat", heartbeats.recv()).await.unwrap();
    worker.end().await;
}

/// When Redis hears from a worker under these keys that it lives.
async fn heartbeats(prefix: &str) -> mpsc::UnboundedReceiver<Instant> {
    let url = redis_url();
    let address = url.trim_start_matches("redis://").split('/').next();
    let stream = TcpStream::connect(address.unwrap()).await.unwrap();
    let (of_server, mut to_server) = stream.into_split();
    to_server.write_all(b"MONITOR\r\n").await.unwrap();
    let mut lines = BufReader::new(of_server).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
    let (heard, heartbeats) = mpsc::unbounded_channel();
    let beat = format!("\"zadd\" \"{prefix}:queue:{HOST}:workers\"");
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(&beat) && heard.send(Instant::now()).is_err() {
                break;
            }
        }
        drop(to_server);
    });
    heartbeats
}

#[tokio::test]
async fn redis_is_left_clean() {
    let (url, prefix) = (redis_url(), prefix());
    let queue = redis_at(&url, &prefix);
    let mut worker = Worker::open(&queue, "w", 4);
    for _ in 0..100 {
        push(&queue).await;
    }
    worker.next_n(100).await;
    worker.end().await;
    queue.vacuum(HOST).await.unwrap();
    let keys = command(&url, &["KEYS", &format!("{prefix}*")]).await;
    assert_eq!(keys, ::redis::Value::Array(vec![]));
}

/// Nobody asks for it.
#[tokio::test]
async fn redis_is_cleaned_while_a_worker_runs() {
    let (url, prefix) = (redis_url(), prefix());
    let queue = redis_at(&url, &prefix);
    let mut worker = Worker::open(&queue, "w", 4);
    for _ in 0..20 {
        push(&queue).await;
    }
    worker.next_n(20).await;
    let url = &url;
    for of_messages in ["data", "done", "meta:*"] {
        let pattern = format!("{prefix}*:{of_messages}");
        until("the queue is cleaned", || async {
            command(url, &["KEYS", &pattern]).await == ::redis::Value::Array(vec![])
        })
        .await;
    }
    worker.end().await;
}

#[tokio::test]
async fn redis_flushed_loses_messages_but_not_workers() {
    let server = PrivateRedis::start().await;
    let queue = redis_at(&server.url(), "flush");
    let mut worker = Worker::closed(&queue, "w", 2);
    push(&queue).await;
    worker.next().await;
    server.command(&["FLUSHALL"]).await;
    // The handler goes on, and the worker takes new messages beside it.
    let job_id = push(&queue).await;
    assert_eq!(worker.next().await, job_id);
    worker.gate.add_permits(2);
    worker.end().await;
}

#[tokio::test]
async fn redis_restarted_runs_new_pushes_beside_old_handlers() {
    let mut server = PrivateRedis::start().await;
    let queue = redis_at(&server.url(), "restart");
    let mut worker = Worker::closed(&queue, "w", 2);
    push(&queue).await;
    worker.next().await;
    for _ in 0..2 {
        server.kill();
        let start = Instant::now();
        assert!(queue.push(HOST, &[new_message()]).await.is_err());
        assert!(queue.health().await.is_err());
        assert!(start.elapsed() < Duration::from_secs(6));
        server.up().await;
        let job_id = push_in_the_end(&queue).await;
        assert_eq!(worker.next().await, job_id);
        assert!(worker.started.try_recv().is_err());
        worker.gate.add_permits(1);
    }
    worker.gate.add_permits(1);
    worker.end().await;
}

#[tokio::test]
async fn redis_may_be_down_at_the_start() {
    let mut server = PrivateRedis::down();
    let queue = redis_at(&server.url(), "late");
    let mut worker = Worker::open(&queue, "w", 1);
    let start = Instant::now();
    assert!(queue.push(HOST, &[new_message()]).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(3));
    server.up().await;
    let job_id = push_in_the_end(&queue).await;
    assert_eq!(worker.next().await, job_id);
    worker.end().await;
}

#[tokio::test]
async fn a_worker_stops_while_redis_is_down() {
    let mut server = PrivateRedis::start().await;
    let queue = redis_at(&server.url(), "stop");
    let mut worker = Worker::closed(&queue, "w", 1);
    push(&queue).await;
    worker.next().await;
    server.kill();
    worker.stop.cancel();
    worker.gate.add_permits(1);
    let start = Instant::now();
    soon("the worker ends", worker.run).await.unwrap();
    assert!(start.elapsed() < DEADLINE / 2);
}
