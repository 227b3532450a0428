//! Watching a job's progress: one watch per job and process, for any number of watchers.
//!
//! A watch follows the job's events. It reads the database at first, whenever events may have been missed, when an event says
//! that the job has ended, and from time to time: so a final state is seen whatever happens to Redis, and none is sent that
//! no longer holds. A slow watcher gets the newest state, never a growing buffer.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::{Fuse, FusedFuture as _};
use futures::{FutureExt as _, Stream, StreamExt as _};
use sea_orm::EntityTrait;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use wharfinger_entity::{JobState, job};

use crate::live::events::{Event, Topic};
use crate::live::notify;
use crate::live::progress_event::ProgressEvent;
use crate::services::Services;

/// How long the answer of a job's worker is awaited before a watcher gets the progress that was saved last.
const PATIENCE: Duration = Duration::from_millis(20);

/// How often the database is read without an event.
const RESYNC: Duration = Duration::from_secs(5);

/// The watches of this process.
#[derive(Clone, Default)]
pub struct Watches(Arc<Mutex<HashMap<Uuid, Weak<Watch>>>>);

struct Watch {
    frames: watch::Receiver<Option<Arc<ProgressEvent>>>,
    _task: AbortOnDropHandle<()>,
}

impl Watches {
    /// The state of a job now, then every change until it has ended.
    pub fn follow(
        &self,
        services: &Services,
        job_id: Uuid,
    ) -> impl Stream<Item = Arc<ProgressEvent>> + Send + use<> {
        let watch = self.watch(services, job_id);
        let frames = watch.frames.clone();
        futures::stream::unfold(Some((frames, watch, i32::MIN)), |state| async move {
            let (mut frames, watch, last) = state?;
            let frame = frames
                .wait_for(|frame| {
                    frame
                        .as_ref()
                        .is_some_and(|frame| frame.sequence > last || frame.state.is_final())
                })
                .await
                .ok()
                .and_then(|frame| frame.clone())?;
            let next = (!frame.state.is_final()).then_some((frames, watch, frame.sequence));
            Some((frame, next))
        })
    }

    fn watch(&self, services: &Services, job_id: Uuid) -> Arc<Watch> {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A watch that saw the job end is over, also when the job was retried since.
        let running = watches
            .get(&job_id)
            .and_then(Weak::upgrade)
            .filter(|watch| watch.frames.has_changed().is_ok());
        if let Some(watch) = running {
            return watch;
        }
        watches.retain(|_, watch| watch.strong_count() > 0);
        let (sender, frames) = watch::channel(None);
        let task = tokio::spawn(keep(services.clone(), job_id, sender));
        let watch = Arc::new(Watch {
            frames,
            _task: AbortOnDropHandle::new(task),
        });
        watches.insert(job_id, Arc::downgrade(&watch));
        watch
    }
}

/// Keeps the newest frame of a job until it has ended.
async fn keep(services: Services, job_id: Uuid, frames: watch::Sender<Option<Arc<ProgressEvent>>>) {
    // Listening begins before the first read: an event in between is seen twice rather than never.
    let mut events = services.events.subscribe(Topic::Job(job_id));
    let mut ticks = tokio::time::interval(RESYNC);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The saved progress of a running job is sent only if its worker does not say how far it really is.
    let mut saved: Option<ProgressEvent> = None;
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    // Beside the events: a database that does not answer delays nothing else.
    let mut looking = pin!(Fuse::terminated());
    loop {
        let (frame, told) = tokio::select! {
            event = events.next() => match event.map(Heard::of) {
                Some(Heard::Progress(frame)) => (Some(frame), true),
                Some(Heard::Change) => {
                    // Read again: a read that is under way may be from before it.
                    looking.set(look(&services, job_id).fuse());
                    continue;
                }
                Some(Heard::Nothing) => continue,
                None => return,
            },
            _ = ticks.tick(), if looking.is_terminated() => {
                looking.set(look(&services, job_id).fuse());
                continue;
            }
            found = &mut looking => (found, false),
            () = &mut patience, if saved.is_some() => (saved.take(), true),
        };
        let Some(frame) = frame else {
            continue;
        };
        let may_be_old = !told && frame.state == JobState::Running;
        if may_be_old && frames.borrow().is_none() && !patience.is_elapsed() {
            saved = Some(frame);
            continue;
        }
        saved = None;
        let ended = frame.state.is_final();
        frames.send_if_modified(|newest| {
            // A final state in the database counts whatever its number: the worker's later events may not have been saved.
            let newer = newest
                .as_ref()
                .is_none_or(|newest| ended || frame.sequence > newest.sequence);
            if newer {
                *newest = Some(Arc::new(frame));
            }
            newer
        });
        if ended {
            return;
        }
    }
}

/// An event of a job.
enum Heard {
    /// How far the job is.
    Progress(ProgressEvent),
    /// The database has to be read. So it is after an event of a final state too, which may come late, from a worker that could
    /// not reach Redis, when the job was retried since.
    Change,
    /// A question to workers.
    Nothing,
}

impl Heard {
    fn of(event: Event) -> Self {
        let Event::Message(payload) = event else {
            return Self::Change;
        };
        match serde_json::from_slice::<ProgressEvent>(&payload) {
            Ok(frame) if frame.state.is_final() => Self::Change,
            Ok(frame) => Self::Progress(frame),
            Err(_) => Self::Nothing,
        }
    }
}

/// The job's state in the database; its worker, if it has one, is asked for its progress.
async fn look(services: &Services, job_id: Uuid) -> Option<ProgressEvent> {
    let found = job::Entity::find_by_id(job_id).one(services.db.read());
    let job = services.db.answer(found).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "could not look at a watched job: trying again");
        None
    })?;
    if job.state == JobState::Running {
        notify::ask(&services.events, job_id);
    }
    Some(ProgressEvent::of(&job))
}
