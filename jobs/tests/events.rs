//! Live events: the same promises inside a process and through Redis, and what a restart of Redis does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;
use uuid::Uuid;
use wharfinger_jobs::live::events::{Event, EventStream, Events, Topic};

use crate::support::{PrivateRedis, command, prefix, redis_url, soon, until};

/// A publisher and a subscriber, in one process or in two that share a Redis.
struct Pair {
    publisher: Events,
    subscriber: Events,
}

fn local() -> Pair {
    let events = Events::local();
    Pair {
        publisher: events.clone(),
        subscriber: events,
    }
}

fn redis() -> Pair {
    redis_at(&redis_url(), &prefix())
}

fn redis_at(url: &str, prefix: &str) -> Pair {
    Pair {
        publisher: Events::redis(url, prefix).unwrap(),
        subscriber: Events::redis(url, prefix).unwrap(),
    }
}

impl Pair {
    /// A stream that surely receives what is published from now on.
    async fn subscribe(&self, topic: Topic) -> EventStream {
        let mut stream = self.subscriber.subscribe(topic);
        soon("the subscription receives", async {
            let probe = Duration::from_millis(50);
            while !matches!(
                timeout(probe, stream.next()).await,
                Ok(Some(Event::Message(_)))
            ) {
                self.publisher.publish(topic, *b"probe");
            }
        })
        .await;
        self.publisher.publish(topic, *b"settled");
        while next(&mut stream).await != message(b"settled") {}
        stream
    }
}

async fn next(stream: &mut EventStream) -> Event {
    soon("an event comes", stream.next()).await.unwrap()
}

fn message(text: &[u8]) -> Event {
    Event::Message(text.into())
}

fn job() -> Topic {
    Topic::Job(Uuid::now_v7())
}

async fn every_subscriber_gets_its_topic_in_order(pair: Pair) {
    let user = Uuid::now_v7();
    let topics = [
        job(),
        Topic::UserJobs(user),
        Topic::AllJobs,
        Topic::Balance(user),
    ];
    for topic in topics {
        let mut streams = [pair.subscribe(topic).await, pair.subscribe(topic).await];
        pair.publisher.publish(job(), *b"of another job");
        pair.publisher.publish(topic, *b"one");
        pair.publisher.publish(topic, *b"two");
        while next(&mut streams[0]).await != message(b"one") {}
        assert_eq!(next(&mut streams[0]).await, message(b"two"));
        assert_eq!(next(&mut streams[1]).await, message(b"one"));
        assert_eq!(next(&mut streams[1]).await, message(b"two"));
    }
}

async fn a_late_subscriber_gets_what_comes_next(pair: Pair) {
    let topic = job();
    let mut early = pair.subscribe(topic).await;
    pair.publisher.publish(topic, *b"before");
    assert_eq!(next(&mut early).await, message(b"before"));
    let mut late = pair.subscriber.subscribe(topic);
    pair.publisher.publish(topic, *b"after");
    assert_eq!(next(&mut late).await, message(b"after"));
    assert_eq!(next(&mut early).await, message(b"after"));
}

async fn a_slow_subscriber_gets_a_gap_and_then_the_newest(pair: Pair) {
    let topic = job();
    let mut slow = pair.subscribe(topic).await;
    let mut quick = pair.subscriber.subscribe(topic);
    for n in 0..500_u32 {
        let payload: Arc<[u8]> = n.to_be_bytes().as_slice().into();
        pair.publisher.publish(topic, payload.clone());
        assert_eq!(next(&mut quick).await, Event::Message(payload));
    }
    assert_eq!(next(&mut slow).await, Event::Gap);
    let newest = message(&499_u32.to_be_bytes());
    let mut seen = 1;
    while next(&mut slow).await != newest {
        seen += 1;
    }
    assert!(seen < 500, "nothing was dropped");
}

async fn a_topic_goes_with_its_last_subscriber(pair: Pair) {
    let topic = job();
    let first = pair.subscribe(topic).await;
    let second = pair.subscriber.subscribe(topic);
    assert_eq!(pair.subscriber.topics(), 1);
    assert_eq!(pair.subscriber.subscribers(), 2);
    drop(first);
    assert_eq!(pair.subscriber.topics(), 1);
    drop(second);
    assert_eq!(pair.subscriber.topics(), 0);
    assert_eq!(pair.subscriber.subscribers(), 0);
    // And it comes back.
    drop(pair.subscribe(topic).await);
}

async fn many_subscribers_and_many_topics(pair: Pair) {
    let topics: Vec<Topic> = (0..100).map(|_| job()).collect();
    let mut streams = Vec::new();
    for topic in &topics {
        streams.push(pair.subscribe(*topic).await);
    }
    let mut crowd: Vec<_> = (0..10_000)
        .map(|_| pair.subscriber.subscribe(topics[0]))
        .collect();
    for topic in &topics {
        pair.publisher.publish(*topic, *b"news");
    }
    for stream in streams.iter_mut().chain(&mut crowd) {
        while next(stream).await != message(b"news") {}
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
        suite!(local: $($test)*);
        suite!(redis: $($test)*);
    };
}

suite! {
    every_subscriber_gets_its_topic_in_order
    a_late_subscriber_gets_what_comes_next
    a_slow_subscriber_gets_a_gap_and_then_the_newest
    a_topic_goes_with_its_last_subscriber
    many_subscribers_and_many_topics
}

#[tokio::test]
async fn redis_knows_only_watched_topics() {
    let (url, prefix) = (redis_url(), prefix());
    let pair = redis_at(&url, &prefix);
    let pattern = format!("{prefix}:events:job:*");
    let stream = pair.subscribe(job()).await;
    let channels = async || command(&url, &["PUBSUB", "CHANNELS", &pattern]).await;
    assert!(matches!(channels().await, ::redis::Value::Array(names) if names.len() == 1));
    drop(stream);
    until("Redis forgets the topic", || async {
        channels().await == ::redis::Value::Array(vec![])
    })
    .await;
}

#[tokio::test]
async fn redis_restarted_tells_every_subscriber_of_the_gap() {
    let mut server = PrivateRedis::start().await;
    let pair = redis_at(&server.url(), "restart");
    let mut streams = [
        pair.subscribe(job()).await,
        pair.subscribe(Topic::AllJobs).await,
    ];
    server.kill();
    for _ in 0..2_000 {
        pair.publisher.publish(Topic::AllJobs, *b"into the void");
    }
    server.up().await;
    for stream in &mut streams {
        assert_eq!(next(stream).await, Event::Gap);
    }
    pair.publisher.publish(Topic::AllJobs, *b"back");
    while next(&mut streams[1]).await != message(b"back") {}
}

#[tokio::test]
async fn redis_may_be_down_at_the_start() {
    let mut server = PrivateRedis::down();
    let pair = redis_at(&server.url(), "late");
    let mut stream = pair.subscriber.subscribe(Topic::AllJobs);
    server.up().await;
    assert_eq!(next(&mut stream).await, Event::Gap);
    pair.publisher.publish(Topic::AllJobs, *b"news");
    assert_eq!(next(&mut stream).await, message(b"news"));
}
