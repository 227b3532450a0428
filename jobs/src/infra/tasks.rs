//! The long-lived tasks of a process, and whether each of them is at work.
//!
//! A task that ends before it was told to, by a panic or by returning, is a bug, and a process without it only seems
//! well: [`Tasks::ended_early`] tells, and the program ends with that as its error. A task that stands still is told by
//! [`Tasks::reports`], which `/readyz` shows.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The long-lived tasks of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<List>);

#[derive(Debug, Default)]
struct List {
    states: Mutex<Vec<Weak<State>>>,
    ended: watch::Sender<Option<EndedEarly>>,
}

/// A task ended before it was told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the background task \"{task}\" ended before it was told to: {how}")]
pub struct EndedEarly {
    /// Its name.
    pub task: &'static str,
    /// Why it ended: it returned, or it panicked with this message.
    pub how: String,
}

/// Which process is not ready while a task stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeededBy {
    /// None: the process does what it promises without it, later.
    None,
    /// A `wharfinger worker`. A gateway beside it can still accept.
    Worker,
    /// Every process.
    All,
}

/// The state of the tasks of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Their name.
    pub task: &'static str,
    /// Which process is not ready while they stand still.
    pub needed_by: NeededBy,
    /// Why they are not at work; none while they are.
    pub trouble: Option<String>,
}

#[derive(Debug)]
struct State {
    name: &'static str,
    needed_by: NeededBy,
    /// How long a pass may take; none where the task has no passes.
    within: Option<Duration>,
    /// When the last pass ended, or the task began; none while it waits for something that need not come.
    passed_at: Mutex<Option<Instant>>,
}

/// One long-lived task, for the task itself. It leaves the list with the last clone.
#[derive(Clone, Debug)]
pub struct Task {
    state: Arc<State>,
    list: Tasks,
}

impl Tasks {
    /// Notes a task that is reported as long as it has not ended.
    pub fn task(&self, name: &'static str, needed_by: NeededBy) -> Task {
        self.add(name, needed_by, None)
    }

    /// Notes a task that goes round in passes, and stands still where one takes longer than `within`.
    pub fn looping(&self, name: &'static str, needed_by: NeededBy, within: Duration) -> Task {
        self.add(name, needed_by, Some(within))
    }

    fn add(&self, name: &'static str, needed_by: NeededBy, within: Option<Duration>) -> Task {
        let state = Arc::new(State {
            name,
            needed_by,
            within,
            passed_at: Mutex::new(Some(Instant::now())),
        });
        let mut states = self.0.states.lock();
        states.retain(|state| state.strong_count() > 0);
        states.push(Arc::downgrade(&state));
        drop(states);
        Task {
            state,
            list: self.clone(),
        }
    }

    /// The state of each task, by name. Several tasks of one name are reported as one: as the one in the worst state.
    pub fn reports(&self) -> Vec<Report> {
        self.reports_at(Instant::now())
    }

    pub(crate) fn reports_at(&self, now: Instant) -> Vec<Report> {
        let mut reports = BTreeMap::new();
        for state in self.0.states.lock().iter().filter_map(Weak::upgrade) {
            let report = reports.entry(state.name).or_insert(Report {
                task: state.name,
                needed_by: state.needed_by,
                trouble: None,
            });
            report.needed_by = report.needed_by.max(state.needed_by);
            report.trouble = report.trouble.take().or_else(|| state.trouble(now));
        }
        if let Some(EndedEarly { task, how }) = self.early_end() {
            let ended = Report {
                task,
                needed_by: NeededBy::All,
                trouble: Some(format!("ended: {how}")),
            };
            reports.insert(task, ended);
        }
        reports.into_values().collect()
    }

    /// Waits until a task ends before it was told to.
    pub async fn ended_early(&self) -> EndedEarly {
        let mut ended = self.0.ended.subscribe();
        let found = ended.wait_for(Option::is_some).await;
        match found.ok().and_then(|found| found.clone()) {
            Some(ended) => ended,
            // The sender lives as long as this.
            None => std::future::pending().await,
        }
    }

    /// The first task that ended before it was told to, if one did.
    pub fn early_end(&self) -> Option<EndedEarly> {
        self.0.ended.borrow().clone()
    }
}

impl State {
    fn trouble(&self, now: Instant) -> Option<String> {
        let passed_at = (*self.passed_at.lock())?;
        let still = now.saturating_duration_since(passed_at);
        (still > self.within?).then(|| format!("no pass has ended for {} s", still.as_secs()))
    }
}

impl Task {
    /// One more task of the same name, which is told by itself.
    #[must_use]
    pub fn another(&self) -> Self {
        let state = &self.state;
        self.list.add(state.name, state.needed_by, state.within)
    }

    /// A pass has ended.
    pub fn passed(&self) {
        *self.state.passed_at.lock() = Some(Instant::now());
    }

    /// Waits for something that need not come: that is no standstill.
    pub async fn waiting<T>(&self, something: impl Future<Output = T>) -> T {
        *self.state.passed_at.lock() = None;
        let came = something.await;
        self.passed();
        came
    }

    /// Works until `stop`, at which the work is dropped.
    pub fn until<'w, F>(self, stop: CancellationToken, work: F) -> BoxFuture<'w, ()>
    where
        F: Future<Output = ()> + Send + 'w,
    {
        let (working, work) = (stop.clone(), Box::pin(work));
        self.run(stop, async move {
            working.run_until_cancelled(work).await;
        })
    }

    /// Works to the end of `work`, which sees to it that it ends after `stop`, and not before.
    pub fn run<'w, F>(self, stop: CancellationToken, work: F) -> BoxFuture<'w, ()>
    where
        F: Future<Output = ()> + Send + 'w,
    {
        // On the heap: the work of a whole worker is large, and would be on the stack of its caller.
        let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
        Box::pin(async move {
            match work.await {
                Ok(()) if stop.is_cancelled() => {}
                Ok(()) => self.ended_early("it returned".to_owned()),
                Err(panic) => {
                    let message = message(panic.as_ref());
                    self.ended_early(format!("it panicked: {message}"));
                }
            }
        })
    }

    fn ended_early(&self, how: String) {
        let task = self.state.name;
        tracing::error!(task, "a background task ended before it was told to: {how}");
        // The first one is the cause; others may end because of it.
        self.list.0.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(EndedEarly { task, how });
            first
        });
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    fn troubles(tasks: &Tasks, later: Duration) -> Vec<(&'static str, Option<String>)> {
        let reports = tasks.reports_at(Instant::now() + later).into_iter();
        reports
            .map(|report| (report.task, report.trouble))
            .collect()
    }

    #[tokio::test]
    async fn a_task_that_panics_is_told_with_its_message() {
        let tasks = Tasks::default();
        let stop = CancellationToken::new();
        let sound = tasks.task("sound", NeededBy::All);
        let ended = tasks.task("unsound", NeededBy::None);
        let running = tokio::spawn(ended.until(stop, async { panic!("no {}", "luck") }));
        let early = tasks.ended_early().await;
        assert_eq!(
            (early.task, &*early.how),
            ("unsound", "it panicked: no luck")
        );
        running.await.unwrap();
        let told = [
            ("sound", None),
            ("unsound", Some("ended: it panicked: no luck".to_owned())),
        ];
        assert_eq!(troubles(&tasks, Duration::ZERO), told);
        drop(sound);
    }

    #[tokio::test]
    async fn a_task_that_returns_is_told_unless_it_was_told_to_end() {
        let tasks = Tasks::default();
        let stop = CancellationToken::new();
        let told = tasks.task("told", NeededBy::All);
        stop.cancel();
        told.run(stop, async {}).await;
        let dropped = tasks.task("dropped", NeededBy::All);
        drop(dropped.run(CancellationToken::new(), std::future::pending()));
        assert_eq!((tasks.early_end(), tasks.reports()), (None, vec![]));
        let untold = tasks.task("untold", NeededBy::All);
        untold.run(CancellationToken::new(), async {}).await;
        let early = tasks.early_end().unwrap();
        assert_eq!((early.task, &*early.how), ("untold", "it returned"));
    }

    #[tokio::test]
    async fn a_task_that_makes_no_pass_stands_still_unless_it_waits() {
        let tasks = Tasks::default();
        let task = tasks.looping("loop", NeededBy::All, WITHIN);
        assert_eq!(troubles(&tasks, WITHIN / 2), [("loop", None)]);
        let still = |seconds| Some(format!("no pass has ended for {seconds} s"));
        let later = WITHIN + Duration::from_secs(1);
        assert_eq!(troubles(&tasks, later), [("loop", still(31))]);
        {
            let mut waiting = Box::pin(task.waiting(std::future::pending::<()>()));
            assert!(futures::poll!(&mut waiting).is_pending());
            assert_eq!(troubles(&tasks, 10 * WITHIN), [("loop", None)]);
        }
        task.waiting(async {}).await;
        assert_eq!(troubles(&tasks, later), [("loop", still(31))]);
        // Two of one name are told as that which is worse off.
        let slower = tasks.looping("loop", NeededBy::None, 2 * WITHIN);
        task.passed();
        assert_eq!(troubles(&tasks, later), [("loop", still(31))]);
        drop(task);
        assert_eq!(troubles(&tasks, later), [("loop", None)]);
        drop(slower);
        assert_eq!(tasks.reports(), []);
    }
}
