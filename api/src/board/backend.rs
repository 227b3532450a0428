//! The jobs table as apalis-board reads any backend. It only reads: nothing is polled from it and nothing pushed to it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::codec::Codec;
use apalis_core::backend::queue::Queue;
use apalis_core::backend::{
    BackendConfig, FetchById, Filter, ListAllTasks, ListQueues, ListTasks, ListWorkers, Metrics,
    QueueInfo, RunningWorker, StatType, Statistic, WireFormatBackend,
};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::status::Status;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use serde_json::{Value, json};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, host, job};
use wharfinger_jobs::infra::db::DbErr;
use wharfinger_jobs::queries::board::{self, Counts, Standing};
use wharfinger_jobs::queries::{Viewer, jobs, users};
use wharfinger_jobs::services::Services;

use crate::graphql::Kind;

/// Who looks: administrators, as the door knows.
const EVERYONE: Viewer = Viewer {
    user_id: Uuid::nil(),
    admin: true,
};

/// Tasks of a page at most.
const MOST: u64 = 100;

/// What the database knows, seen from one queue.
pub(super) struct Backend {
    services: Services,
    /// The host whose queue is asked for; none where every queue is.
    host: Option<host::Model>,
}

/// Arguments are shown as they are.
pub(super) struct AsTheyAre;

/// How tasks get in: not this way.
pub(super) struct ReadOnly;

/// Why a question was not answered, or something not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum BoardError {
    #[error("the database failed")]
    Database(#[from] DbErr),
    #[error("the board only shows: jobs are accepted by GraphQL alone")]
    ReadOnly,
}

impl Backend {
    pub(super) fn new(services: Services, host: Option<host::Model>) -> Self {
        Self { services, host }
    }

    async fn hosts(&self) -> Result<Vec<host::Model>, DbErr> {
        match &self.host {
            Some(host) => Ok(vec![host.clone()]),
            None => board::hosts(&self.services.db).await,
        }
    }

    async fn tasks(
        &self,
        host: Option<&host::Model>,
        filter: &Filter,
    ) -> Result<Vec<Task<Value>>, BoardError> {
        let standing = match &filter.status {
            None => None,
            Some(status) => match standing(status) {
                Some(standing) => Some(standing),
                None => return Ok(Vec::new()),
            },
        };
        let limit = u64::from(filter.limit()).clamp(1, MOST);
        let offset = u64::from(filter.page.saturating_sub(1)) * limit;
        let db = &self.services.db;
        let host_id = host.map(|host| host.id);
        let jobs = board::tasks(db, host_id, standing, offset, limit).await?;
        self.shown(jobs).await
    }

    /// The jobs as tasks, with the names of what they refer to.
    async fn shown(&self, jobs: Vec<job::Model>) -> Result<Vec<Task<Value>>, BoardError> {
        let db = &self.services.db;
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.user_id).collect();
        let users = users::by_ids(db, EVERYONE, &ids).await?;
        let users: HashMap<Uuid, String> =
            users.into_iter().map(|user| (user.id, user.name)).collect();
        let hosts = self.hosts().await?;
        let hosts: HashMap<Uuid, String> =
            hosts.into_iter().map(|host| (host.id, host.name)).collect();
        Ok(jobs
            .into_iter()
            .map(|job| {
                let host = job.host_id.and_then(|id| hosts.get(&id));
                task(&job, users.get(&job.user_id), host)
            })
            .collect())
    }

    async fn workers(&self) -> Result<Vec<RunningWorker>, BoardError> {
        let hosts = self.hosts().await?;
        Ok(hosts.into_iter().map(|host| worker(&host)).collect())
    }
}

/// Where apalis' words for states are. Nobody waits between a queue and a worker here: `Queued` is nobody's.
fn standing(status: &Status) -> Option<Standing> {
    match status {
        Status::Pending => Some(Standing::Waiting),
        Status::Running => Some(Standing::Running),
        Status::Done => Some(Standing::Done),
        Status::Failed => Some(Standing::Ended),
        Status::Killed => Some(Standing::Dead),
        _ => None,
    }
}

fn status(standing: Standing) -> Status {
    match standing {
        Standing::Waiting => Status::Pending,
        Standing::Running => Status::Running,
        Standing::Done => Status::Done,
        Standing::Ended => Status::Failed,
        Standing::Dead => Status::Killed,
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.micros() / 1_000_000).unwrap_or(0)
}

fn task(job: &job::Model, user: Option<&String>, host: Option<&String>) -> Task<Value> {
    let error = job.error_code.map(|code| {
        json!({ "code": code, "message": job.error_message, "retryable": job.error_retryable })
    });
    let args = json!({
        "kind": job.kind,
        "state": job.state,
        "reference": job.reference,
        "user": user,
        "host": host,
        "held": job.held.to_string(),
        "error": error,
        "discarded": job.discarded_at.is_some(),
    });
    let number = |number: i32| usize::try_from(number).unwrap_or(0);
    let mut task = TaskBuilder::new(args)
        .task_id(TaskId::from_string(Kind::Job.id(job.id).to_string()))
        .attempt(number(job.attempt))
        .max_attempts(number(job.max_attempts))
        .status(status(Standing::of(job)))
        .run_at_timestamp(seconds(job.run_after))
        .lock_by(job.worker.clone())
        .lock_at(job.started_at.map(seconds))
        .done_at(job.finished_at.map(seconds));
    if let Some(host) = host {
        task = task.queue(Queue::from(host.as_str()));
    }
    task.build()
}

fn worker(host: &host::Model) -> RunningWorker {
    RunningWorker {
        id: host.name.clone(),
        queue: host.name.clone(),
        backend: "Wharfinger".into(),
        started_at: seconds(host.created_at),
        last_heartbeat: host.last_seen_at.map_or(0, seconds),
        layers: format!("{} at a time", host.concurrency),
    }
}

/// As the page knows them by name: the order is that in which it shows them.
fn statistics(counts: &Counts) -> Vec<Statistic> {
    let of = |standing| counts.of(standing);
    let numbers = [
        ("TOTAL_JOBS", counts.total()),
        ("PENDING_JOBS", of(Standing::Waiting)),
        ("RUNNING_JOBS", of(Standing::Running)),
        ("DONE_JOBS", of(Standing::Done)),
        ("FAILED_JOBS", of(Standing::Ended)),
        ("KILLED_JOBS", of(Standing::Dead)),
    ];
    (1..)
        .zip(numbers)
        .map(|(priority, (title, number))| Statistic {
            title: title.into(),
            stat_type: StatType::Number,
            value: number.to_string(),
            priority: Some(priority),
        })
        .collect()
}

impl apalis_core::backend::Backend for Backend {
    type Task = Task<Value>;
    type Error = BoardError;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), BoardError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Value>, BoardError>>> {
        Poll::Ready(None)
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), BoardError>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Backend {
    type Args = Value;
    type Id = TaskId;
    type Kind = ReadOnly;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

impl WireFormatBackend for Backend {
    type Codec = AsTheyAre;
    type Compact = Value;

    fn codec(&self) -> &AsTheyAre {
        &AsTheyAre
    }
}

impl Codec<Value> for AsTheyAre {
    type Error = Infallible;
    type Compact = Value;

    fn encode(&self, value: &Value) -> Result<Value, Infallible> {
        Ok(value.clone())
    }

    fn decode(&self, value: &Value) -> Result<Value, Infallible> {
        Ok(value.clone())
    }
}

impl Metrics for Backend {
    async fn global(&self) -> Result<Vec<Statistic>, BoardError> {
        let counts = board::counts(&self.services.db, None).await?;
        let all = counts.values().fold(Counts::default(), Counts::with);
        Ok(statistics(&all))
    }

    async fn fetch_by_queue(&self) -> Result<Vec<Statistic>, BoardError> {
        let host_id = self.host.as_ref().map(|host| host.id);
        let counts = board::counts(&self.services.db, host_id).await?;
        let own = counts.values().fold(Counts::default(), Counts::with);
        Ok(statistics(&own))
    }
}

impl ListQueues for Backend {
    async fn list_queues(&self) -> Result<Vec<QueueInfo>, BoardError> {
        let db = &self.services.db;
        let counts = board::counts(db, None).await?;
        let activity = board::activity(db, self.services.clock.now()).await?;
        let none = Counts::default();
        Ok(board::hosts(db)
            .await?
            .into_iter()
            .map(|host| QueueInfo {
                stats: statistics(counts.get(&host.id).unwrap_or(&none)),
                activity: activity.get(&host.id).copied().unwrap_or_default().to_vec(),
                workers: vec![host.name.clone()],
                name: host.name,
            })
            .collect())
    }
}

impl ListWorkers for Backend {
    async fn list_workers(&self) -> Result<Vec<RunningWorker>, BoardError> {
        self.workers().await
    }

    async fn list_all_workers(&self) -> Result<Vec<RunningWorker>, BoardError> {
        self.workers().await
    }
}

impl ListTasks for Backend {
    async fn list_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, BoardError> {
        self.tasks(self.host.as_ref(), filter).await
    }
}

impl ListAllTasks for Backend {
    async fn list_all_tasks(&self, filter: &Filter) -> Result<Vec<Task<Value>>, BoardError> {
        self.tasks(None, filter).await
    }
}

impl FetchById for Backend {
    async fn fetch_by_id(&mut self, id: &TaskId) -> Result<Option<Task<Value>>, BoardError> {
        let (Some(host), Some(id)) = (&self.host, Kind::Job.parse(&id.to_string().into())) else {
            return Ok(None);
        };
        let db = &self.services.db;
        let Some(job) = board::task(db, host.id, id).await? else {
            return Ok(None);
        };
        let attempts = jobs::attempts(db, EVERYONE, &[job.id]).await?;
        let attempts: Vec<Value> = attempts
            .into_iter()
            .map(|attempt| {
                json!({
                    "number": attempt.number,
                    "worker": attempt.worker,
                    "error": attempt.error_code,
                    "message": attempt.error_message,
                })
            })
            .collect();
        let shown = self.shown(vec![job]).await?.pop();
        Ok(shown.map(|task| {
            task.map_args(|mut args| {
                args["attempts"] = Value::Array(attempts);
                args
            })
        }))
    }
}
