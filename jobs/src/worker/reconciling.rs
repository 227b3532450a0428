//! Keeping the database's images and the engine's the same: all of them from time to time, and one at once when the
//! engine says that it went.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use wharfinger_entity::Digest;

use super::Worker;
use crate::engine_images::{blob_origins, in_use, reconcile};
use crate::infra::tasks::Task;

/// Images that went and were not yet looked at, at most; beyond that all are looked at.
const BACKLOG: usize = 1024;

/// The first pause before the engine's events are listened to again after they ended.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest of these pauses; each is twice the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long an engine must have told for its next silence to count as the first.
const LASTING: Duration = Duration::from_mins(1);

/// Looks at an image that another job is changing, at most; after that it is left to the next pass.
const LOOKS: u32 = 20;

/// How long a worker that stops waits for the look that it has begun.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long a look may take before it counts as standing still: an engine is given minutes for some of its answers.
pub(super) const STILL: Duration = Duration::from_mins(15);

/// Time between two of these looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// News of the engine's images.
struct Heard {
    images: mpsc::Sender<Digest>,
    /// Something may have been missed: look at all of them.
    missed: Notify,
}

impl Worker {
    /// Reconciles until `stop`, and ends a look that it has begun: one that is dropped in the middle leaves its image locked
    /// until the lock runs out, and the next job of the image has to wait.
    pub(super) async fn keep_reconciling(&self, task: &Task, stop: &CancellationToken) {
        let (images, gone) = mpsc::channel(BACKLOG);
        let heard = Heard {
            images,
            missed: Notify::new(),
        };
        let listening = stop.run_until_cancelled(self.listen_to_engine(&heard));
        let looking = self.look_after(&heard, gone, task, stop);
        let until = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_LOOK).await;
        };
        tokio::select! {
            _ = futures::future::join(listening, looking) => {}
            () = until => {}
        }
    }

    /// Looks at every image when it is time to, and at those that the engine said went.
    async fn look_after(
        &self,
        heard: &Heard,
        mut gone: mpsc::Receiver<Digest>,
        task: &Task,
        stop: &CancellationToken,
    ) {
        let context = &self.context;
        let interval = context.services.settings.reconcile.interval;
        // The first time is when it begins to listen.
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answers = context.engine_answers.subscribe();
        loop {
            let mut ids = Vec::new();
            let heard_of = async {
                tokio::select! {
                    _ = ticks.tick() => Some(true),
                    () = heard.missed.notified() => Some(true),
                    _ = gone.recv_many(&mut ids, BACKLOG) => Some(false),
                    () = stop.cancelled() => None,
                }
            };
            let Some(all) = task.waiting(heard_of).await else {
                return;
            };
            let answering = stop.run_until_cancelled(answers.wait_for(|answers| *answers));
            if !matches!(task.waiting(answering).await, Some(Ok(_))) {
                return;
            }
            if all {
                let (services, engine) = (&context.services, &context.engine);
                let done = reconcile::host(services, engine, self.host_id, stop).await;
                if let Err(error) = done {
                    tracing::warn!(%error, "could not reconcile the engine's images: trying again at the next interval");
                }
                let used = in_use::record(&context.services, &context.engine, self.host_id).await;
                if let Err(error) = used {
                    tracing::warn!(%error, "could not record which images are in use: trying again at the next interval");
                }
                let (db, now) = (context.services.db.write(), context.services.clock.now());
                // Twice as long as they count: a pull that runs has to find what was announced since it began.
                let pull_timeout = context.services.settings.worker.pull_timeout;
                let before = blob_origins::announced_since(now, pull_timeout * 2);
                if let Err(error) = blob_origins::forget_stale(db, self.host_id, before).await {
                    tracing::warn!(%error, "could not forget old announcements of layers: trying again at the next interval");
                }
            } else {
                self.look_at(ids.into_iter().collect(), stop).await;
            }
        }
    }

    /// Looks at images of which the engine said something.
    async fn look_at(&self, mut ids: HashSet<Digest>, stop: &CancellationToken) {
        let context = &self.context;
        for look in 1..=LOOKS {
            let mut busy = HashSet::new();
            for id in ids {
                if stop.is_cancelled() {
                    return;
                }
                let (services, engine) = (&context.services, &context.engine);
                match reconcile::heard_of(services, engine, self.host_id, &id).await {
                    Ok(true) => {}
                    Ok(false) => {
                        busy.insert(id);
                    }
                    Err(error) => {
                        tracing::warn!(image = %id, %error, "could not reconcile an image: trying again at the next interval");
                    }
                }
            }
            if busy.is_empty() || look == LOOKS {
                return;
            }
            ids = busy;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Listens to the engine, and again when it fell silent: a little later each time, and what went meanwhile is found
    /// by looking at all images.
    async fn listen_to_engine(&self, heard: &Heard) {
        let mut answers = self.context.engine_answers.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            if answers.wait_for(|answers| *answers).await.is_err() {
                return;
            }
            heard.missed.notify_one();
            let began = Instant::now();
            tokio::select! {
                () = self.pass_on(heard) => {}
                silent = answers.wait_for(|answers| !*answers) => if silent.is_err() { return },
            }
            if began.elapsed() >= LASTING {
                pause = FIRST_PAUSE;
            }
            tracing::debug!(
                ?pause,
                "the engine does not tell of its images any more: listening again"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Passes on what the engine tells, until it does not any more. Never waits: an engine drops what is not taken.
    async fn pass_on(&self, heard: &Heard) {
        let mut departures = self.context.engine.departures();
        while let Some(told) = departures.next().await {
            match told {
                Ok(id) => {
                    if heard.images.try_send(id).is_err() {
                        heard.missed.notify_one();
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "lost the engine's events");
                    return;
                }
            }
        }
    }
}
