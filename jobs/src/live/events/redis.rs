//! Events through Redis: one connection that subscribes to the watched topics, one that publishes.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, Msg, RedisResult};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fanout::{Changes, Fanout};
use super::outbox::{Batch, Outbox};
use super::{Event, Topic};
use crate::infra::redis_connection::{self, Backoff, Connection, KEEPALIVE, in_time};
use crate::infra::tasks::{NeededBy, Task, Tasks};

/// How many channels one SUBSCRIBE names.
const CHUNK: usize = 500;

/// How long one of them may be at the same thing: every command has a deadline, and a quiet connection is tried.
const STILL: Duration = Duration::from_mins(1);

/// The two connections. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct RedisEvents {
    outbox: Arc<Outbox>,
    _stop_on_drop: DropGuard,
}

impl RedisEvents {
    pub(crate) fn start(
        url: &str,
        prefix: &str,
        fanout: Arc<Fanout>,
        tasks: &Tasks,
    ) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let connection = Connection::new(&client)?;
        let channels = Channels(format!("{prefix}:events:"));
        let outbox = Arc::new(Outbox::default());
        let stop = CancellationToken::new();
        let publisher = Publisher {
            outbox: outbox.clone(),
            connection,
            channels: channels.clone(),
        };
        let subscriber = Subscriber {
            client,
            fanout,
            channels,
        };
        // Without them the process works on, and its watchers look into the database less often than they would.
        let task = tasks.looping("events_publisher", NeededBy::None, STILL);
        tokio::spawn(task.clone().until(stop.clone(), publisher.run(task)));
        let task = tasks.looping("events_subscriber", NeededBy::None, STILL);
        tokio::spawn(task.clone().until(stop.clone(), subscriber.run(task)));
        Ok(Self {
            outbox,
            _stop_on_drop: stop.drop_guard(),
        })
    }

    pub(crate) fn publish(&self, topic: Topic, payload: Arc<[u8]>) {
        self.outbox.add(topic, payload);
    }
}

/// The names of channels, which begin with this.
#[derive(Clone)]
struct Channels(String);

impl Channels {
    fn name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.0)
    }

    /// Every process listens here: a publisher had to drop messages.
    fn gap(&self) -> String {
        format!("{}gap", self.0)
    }

    fn topic(&self, channel: &str) -> Option<Topic> {
        Topic::parse(channel.strip_prefix(&self.0)?)
    }
}

struct Publisher {
    outbox: Arc<Outbox>,
    connection: Connection,
    channels: Channels,
}

impl Publisher {
    async fn run(mut self, task: Task) {
        let mut backoff = Backoff::new();
        let mut failing = false;
        loop {
            let batch = task.waiting(self.outbox.take()).await;
            match self.send(&batch).await {
                Ok(()) => {
                    if batch.dropped > 0 {
                        tracing::warn!(dropped = batch.dropped, "events were dropped");
                    }
                    backoff.reset();
                    failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "events cannot be published; trying again");
                    }
                    self.outbox.put_back(batch);
                    task.waiting(backoff.wait()).await;
                }
            }
        }
    }

    async fn send(&mut self, batch: &Batch) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        if batch.dropped > 0 {
            pipe.publish(self.channels.gap(), "").ignore();
        }
        for (topic, payload) in &batch.messages {
            pipe.publish(self.channels.name(*topic), &**payload)
                .ignore();
        }
        pipe.query_async(&mut self.connection).await
    }
}

struct Subscriber {
    client: Client,
    fanout: Arc<Fanout>,
    channels: Channels,
}

impl Subscriber {
    async fn run(self, task: Task) {
        let mut backoff = Backoff::new();
        let mut failing = false;
        loop {
            let error = match self.connect().await {
                Ok((sink, messages)) => {
                    backoff.reset();
                    failing = false;
                    self.follow(sink, messages, &task).await
                }
                Err(error) => Some(error),
            };
            self.fanout.unfollow();
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(?error, "no live events from Redis; connecting again");
            }
            task.waiting(backoff.wait()).await;
        }
    }

    /// Subscribes to all watched topics. Earlier messages may be lost, so every subscriber gets a gap.
    async fn connect(&self) -> RedisResult<(PubSubSink, PubSubStream)> {
        let (mut sink, messages) = redis_connection::pubsub(&self.client).await?;
        in_time(sink.subscribe(self.channels.gap())).await?;
        let watched = self.fanout.follow();
        for topics in watched.chunks(CHUNK) {
            in_time(sink.subscribe(self.names(topics))).await?;
        }
        self.fanout.deliver_to_all(&Event::Gap);
        Ok((sink, messages))
    }

    /// Delivers until the connection ends, with its error if it had one.
    async fn follow(
        &self,
        mut sink: PubSubSink,
        mut messages: PubSubStream,
        task: &Task,
    ) -> Option<redis::RedisError> {
        let mut keepalive = interval(KEEPALIVE);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            task.passed();
            let outcome = tokio::select! {
                message = messages.next() => {
                    self.deliver(&message?);
                    Ok(())
                }
                changes = self.fanout.changes() => self.resubscribe(&mut sink, &changes).await,
                _tick = keepalive.tick() => in_time(sink.ping()).await,
            };
            if let Err(error) = outcome {
                return Some(error);
            }
        }
    }

    fn deliver(&self, message: &Msg) {
        let channel = message.get_channel_name();
        if let Some(topic) = self.channels.topic(channel) {
            let payload = message.get_payload_bytes().into();
            self.fanout.deliver(topic, &Event::Message(payload));
        } else if channel == self.channels.gap() {
            self.fanout.deliver_to_all(&Event::Gap);
        }
    }

    /// Subscribing to a subscribed channel, or unsubscribing from an unknown one, changes nothing at Redis.
    async fn resubscribe(&self, sink: &mut PubSubSink, changes: &Changes) -> RedisResult<()> {
        for topics in changes.unwatched.chunks(CHUNK) {
            in_time(sink.unsubscribe(self.names(topics))).await?;
        }
        for topics in changes.watched.chunks(CHUNK) {
            in_time(sink.subscribe(self.names(topics))).await?;
            for topic in topics {
                self.fanout.deliver(*topic, &Event::Gap);
            }
        }
        Ok(())
    }

    fn names(&self, topics: &[Topic]) -> Vec<String> {
        topics
            .iter()
            .map(|topic| self.channels.name(*topic))
            .collect()
    }
}
