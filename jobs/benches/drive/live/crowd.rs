//! Very many subscribers on one thread, and what they saw.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot, watch};

use super::line::{Line, Said, Seat};
use crate::Outcome;

/// Subscribers that are connecting at a time, except in a storm.
const CONNECTING: usize = 64;

/// Delays are counted by tenths of a millisecond, up to ten seconds.
const BUCKETS: usize = 100_000;

/// Events of one pull whose instants are remembered.
const REMEMBERED: usize = 1024;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The instants at which events were published, and what became of them.
pub(crate) struct Stats {
    began: Instant,
    published: Vec<Vec<AtomicU64>>,
    delays: Vec<AtomicU32>,
    measuring: AtomicBool,
    /// Subscribers that have had their first event.
    pub(crate) live: AtomicUsize,
    /// Events that came after the first one.
    pub(crate) events: AtomicU64,
    /// Events that came twice or after a later one.
    pub(crate) back: AtomicU64,
    /// Subscribers that saw their job succeed, and those whose subscription completed then.
    pub(crate) succeeded: AtomicUsize,
    pub(crate) completed: AtomicUsize,
    /// Sockets that ended before.
    pub(crate) lost: AtomicUsize,
    /// Why the last of them did.
    pub(crate) why: Mutex<String>,
}

impl Stats {
    fn new(topics: usize) -> Self {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            began: Instant::now(),
            published: (0..topics).map(|_| zeros(REMEMBERED)).collect(),
            delays: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            measuring: AtomicBool::new(false),
            live: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            back: AtomicU64::new(0),
            succeeded: AtomicUsize::new(0),
            completed: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            why: Mutex::default(),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bench of minutes")]
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// To be called right before an event is published.
    pub(crate) fn publishing(&self, topic: usize, sequence: u32) {
        self.published[topic][sequence as usize % REMEMBERED].store(self.now(), Relaxed);
    }

    /// Whether delays count.
    pub(crate) fn measure(&self, measuring: bool) {
        self.measuring.store(measuring, Relaxed);
    }

    fn came(&self, topic: usize, sequence: u32) {
        self.events.fetch_add(1, Relaxed);
        if self.measuring.load(Relaxed) {
            let published = self.published[topic][sequence as usize % REMEMBERED].load(Relaxed);
            let delay = self.now().saturating_sub(published) / 100;
            let bucket = usize::try_from(delay).unwrap_or(BUCKETS).min(BUCKETS - 1);
            self.delays[bucket].fetch_add(1, Relaxed);
        }
    }

    /// The delay, in milliseconds, that `share` of the events does not exceed; none where there were none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts"
    )]
    pub(crate) fn delay(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> = self
            .delays
            .iter()
            .map(|count| u64::from(count.load(Relaxed)))
            .collect();
        let rank = ((counts.iter().sum::<u64>() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some((bucket + 1) as f64 / 10.0)
    }

    fn lose(&self, why: &std::io::Error) {
        self.lost.fetch_add(1, Relaxed);
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why.to_string();
    }
}

/// Subscribers of one server. They leave when it is dropped.
pub(crate) struct Crowd {
    pub(crate) stats: Arc<Stats>,
    address: SocketAddr,
    thread: Handle,
    room: Arc<Semaphore>,
    /// When whoever lost the connection may come back.
    again: watch::Sender<Option<Instant>>,
    _leave: oneshot::Sender<()>,
}

impl Crowd {
    /// Nobody yet, of a server with so many pulls to watch.
    pub(crate) fn new(address: SocketAddr, topics: usize) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = runtime.handle().clone();
        let (leave, left) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = runtime.block_on(left);
        });
        Ok(Self {
            stats: Arc::new(Stats::new(topics)),
            address,
            thread,
            room: Arc::new(Semaphore::new(CONNECTING)),
            again: watch::channel(None).0,
            _leave: leave,
        })
    }

    /// Subscribes, a few at a time, and waits until all have had an event. With `returns`, who loses the connection comes
    /// back when told to, within that time.
    pub(crate) async fn join(&self, seats: Vec<Seat>, returns: Option<Duration>) -> Outcome {
        let goal = self.stats.live.load(Relaxed) + seats.len();
        let count = u32::try_from(seats.len())?;
        for (number, seat) in (0..count).zip(seats) {
            let (stats, room, address) = (self.stats.clone(), self.room.clone(), self.address);
            let mut again = self.again.subscribe();
            self.thread.spawn(async move {
                let ended = {
                    let mut place = room.acquire_owned().await.ok();
                    attend(address, &seat, &stats, || drop(place.take())).await
                };
                let (Some(within), Err(why)) = (returns, &ended) else {
                    return ended.unwrap_or_else(|why| stats.lose(&why));
                };
                tracing::debug!(%why, "cut off");
                let Ok(start) = again.wait_for(Option::is_some).await.map(|start| *start) else {
                    return;
                };
                let turn = within * number / count;
                tokio::time::sleep_until((start.unwrap_or_else(Instant::now) + turn).into()).await;
                if let Err(why) = attend(address, &seat, &stats, || ()).await {
                    stats.lose(&why);
                }
            });
        }
        self.until("every subscriber has an event", |stats| {
            stats.live.load(Relaxed) >= goal
        })
        .await
    }

    /// Lets those who were cut off come back, and returns how long it took until all were live again.
    pub(crate) async fn storm(&self) -> Outcome<Duration> {
        let goal = self.stats.live.swap(0, Relaxed);
        let start = Instant::now();
        self.again.send_replace(Some(start));
        self.until("everybody is live again", |stats| {
            stats.live.load(Relaxed) >= goal
        })
        .await?;
        Ok(start.elapsed())
    }

    /// One who comes late: how long from the beginning of the connection, and from `subscribe`, to the first event.
    pub(crate) async fn late(&self, seat: Seat) -> Outcome<[Duration; 2]> {
        let address = self.address;
        let late = self.thread.spawn(async move {
            let began = Instant::now();
            let mut line = Line::open(address, &seat).await?;
            let asked = Instant::now();
            subscribe(&mut line, &seat).await?;
            let mut first = false;
            while !first {
                line.hear(|said| first |= matches!(said, Said::Next(..)))
                    .await?;
            }
            Ok::<_, std::io::Error>([began.elapsed(), asked.elapsed()])
        });
        Ok(tokio::time::timeout(PATIENCE, late).await???)
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Stats) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.stats) {
            if Instant::now() > deadline {
                let why = self
                    .stats
                    .why
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let counts = [&self.stats.live, &self.stats.succeeded, &self.stats.lost]
                    .map(|count| count.load(Relaxed));
                return Err(format!(
                    "{what}: not in time; live, succeeded, lost {counts:?}; {why}"
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

async fn subscribe(line: &mut Line, seat: &Seat) -> std::io::Result<()> {
    match &seat.hello {
        Some([_, subscribe]) => line.say(0x1, subscribe.as_bytes()).await,
        None => Ok(()),
    }
}

/// Watches until the subscription completes.
async fn attend(
    address: SocketAddr,
    seat: &Seat,
    stats: &Stats,
    mut live: impl FnMut(),
) -> std::io::Result<()> {
    let mut line = Line::open(address, seat).await?;
    subscribe(&mut line, seat).await?;
    let (mut newest, mut ended, mut other) = (None, false, None);
    while !ended {
        line.hear(|said| match said {
            Said::Next(sequence, succeeded) => {
                if newest.is_none() {
                    stats.live.fetch_add(1, Relaxed);
                    live();
                } else {
                    stats.came(seat.topic, sequence);
                }
                if newest.is_some_and(|newest| newest >= sequence) {
                    stats.back.fetch_add(1, Relaxed);
                }
                newest = Some(sequence);
                if succeeded {
                    stats.succeeded.fetch_add(1, Relaxed);
                }
            }
            Said::Complete => ended = true,
            Said::Acknowledged => {}
            Said::Other(text) => other = Some(text),
        })
        .await?;
        if let Some(text) = other {
            return Err(std::io::Error::other(text));
        }
    }
    stats.completed.fetch_add(1, Relaxed);
    Ok(())
}
