//! Live events between processes: a worker publishes a job's progress, and every gateway hands it to its
//! own subscribers.
//!
//! Events are hints and the database is the truth. Delivery is best effort, and where a message may have
//! been missed (a slow subscriber, a renewed connection) the subscriber is told [`Event::Gap`] and reads
//! the database again. Within a process subscribers of a topic share one channel and one copy of each
//! payload; with Redis there is one subscribing connection per process, whatever the number of subscribers.

mod fanout;
mod outbox;
mod redis;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;
use uuid::Uuid;

use self::fanout::Fanout;
use self::redis::RedisEvents;
use crate::infra::tasks::Tasks;

/// The subject of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Progress of one job.
    Job(Uuid),
    /// Changes of state of one user's jobs.
    UserJobs(Uuid),
    /// Changes of state of every job, for administrators.
    AllJobs,
    /// Changes of one user's credits.
    Balance(Uuid),
    /// That a user may do less than before: a revoked token, a ban, another role.
    Access,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job:{id}"),
            Self::UserJobs(id) => write!(f, "user-jobs:{id}"),
            Self::AllJobs => f.write_str("all-jobs"),
            Self::Balance(id) => write!(f, "balance:{id}"),
            Self::Access => f.write_str("access"),
        }
    }
}

impl Topic {
    /// Reads what `Display` writes.
    fn parse(text: &str) -> Option<Self> {
        let id = |id: &str| id.parse().ok();
        match text.split_once(':') {
            None if text == "all-jobs" => Some(Self::AllJobs),
            None if text == "access" => Some(Self::Access),
            Some(("job", job)) => id(job).map(Self::Job),
            Some(("user-jobs", user)) => id(user).map(Self::UserJobs),
            Some(("balance", user)) => id(user).map(Self::Balance),
            _ => None,
        }
    }
}

/// A message to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A published payload, shared with every other subscriber.
    Message(Arc<[u8]>),
    /// Messages may have been missed: read the database again.
    Gap,
}

/// The events could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The address of Redis is malformed.
    #[error("the address of the events' Redis is not valid")]
    Redis(#[from] ::redis::RedisError),
}

/// Publishes and subscribes. Cheap to clone; its connections end with the last clone and stream.
#[derive(Clone, Debug)]
pub struct Events {
    fanout: Arc<Fanout>,
    redis: Option<Arc<RedisEvents>>,
    tasks: Tasks,
}

impl Events {
    /// Events inside this process.
    pub fn local() -> Self {
        Self {
            fanout: Arc::new(Fanout::default()),
            redis: None,
            tasks: Tasks::default(),
        }
    }

    /// Events through Redis or Valkey, on channels that start with `prefix`. It connects by itself, now or when Redis
    /// is there; only a malformed `url` is an error. Call it inside a Tokio runtime.
    pub fn redis(url: &str, prefix: &str) -> Result<Self, EventsError> {
        let (fanout, tasks) = (Arc::new(Fanout::default()), Tasks::default());
        let redis = RedisEvents::start(url, prefix, fanout.clone(), &tasks)?;
        Ok(Self {
            redis: Some(Arc::new(redis)),
            fanout,
            tasks,
        })
    }

    /// The tasks that keep the events going, to which a process adds its others.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Publishes, best effort, to every process. It never waits: while Redis is slow or away the newest messages are
    /// kept, up to a bound, and the oldest are dropped; subscribers are told of that gap later.
    pub fn publish(&self, topic: Topic, payload: impl Into<Arc<[u8]>>) {
        let payload = payload.into();
        match &self.redis {
            Some(redis) => redis.publish(topic, payload),
            None => self.fanout.deliver(topic, &Event::Message(payload)),
        }
    }

    /// Events about `topic` from now on. Subscribe first and read the database then. Through Redis, "now" is when Redis
    /// confirmed the subscription: the topic's first subscriber gets a [`Event::Gap`] at that moment.
    pub fn subscribe(&self, topic: Topic) -> EventStream {
        EventStream {
            receiver: BroadcastStream::new(self.fanout.subscribe(topic)),
            _subscription: Subscription {
                topic,
                events: self.clone(),
            },
        }
    }

    /// How many topics have subscribers in this process.
    pub fn topics(&self) -> usize {
        self.fanout.topics()
    }

    /// How many subscribers this process has.
    pub fn subscribers(&self) -> usize {
        self.fanout.subscribers()
    }
}

/// A subscriber's view of one topic. Dropping it unsubscribes. It never ends by itself.
#[derive(Debug)]
pub struct EventStream {
    // Dropped first, so that its topic is counted without it.
    receiver: BroadcastStream<Event>,
    _subscription: Subscription,
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        // The only error is that this subscriber lagged, and what it missed is gone.
        let next = self.receiver.poll_next_unpin(cx);
        next.map(|item| item.map(|event| event.unwrap_or(Event::Gap)))
    }
}

#[derive(Debug)]
struct Subscription {
    topic: Topic,
    events: Events,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.events.fanout.release(self.topic);
    }
}
