//! The jobs table as a backend of apalis-board, which only reads: polling it returns nothing, and pushing to it fails.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::codec::Codec;
use apalis_core::backend::{
    BackendConfig, FetchById, Filter, ListAllTasks, ListQueues, ListTasks, ListWorkers, Metrics,
    QueueInfo, RunningWorker, Statistic, WireFormatBackend,
};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use serde_json::{Value, json};
use uuid::Uuid;
use wharfinger_entity::{host, job};
use wharfinger_jobs::infra::db::DbErr;
use wharfinger_jobs::queries::board::{self, Counts};
use wharfinger_jobs::queries::{Viewer, jobs, users};
use wharfinger_jobs::services::Services;

use super::tasks::{standing, statistics, task, worker};
use crate::graphql::Kind;

/// The viewer of all queries: an administrator, because [`super::auth`] admits no other caller.
const ADMINISTRATOR: Viewer = Viewer {
    user_id: Uuid::nil(),
    admin: true,
};

/// Most tasks of a page.
const MOST: u64 = 100;

/// The jobs of one queue, or of all queues.
pub(super) struct Backend {
    services: Services,
    /// The host of the queue; `None` for all queues.
    host: Option<host::Model>,
}

/// Encodes arguments as the JSON that they are.
pub(super) struct JsonCodec;

/// The kind of sink: none, because jobs are accepted by GraphQL alone.
pub(super) struct ReadOnly;

/// Why a request of the board failed.
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
        self.to_tasks(jobs).await
    }

    /// Returns the jobs as tasks, with the names of their users and hosts.
    async fn to_tasks(&self, jobs: Vec<job::Model>) -> Result<Vec<Task<Value>>, BoardError> {
        let db = &self.services.db;
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.user_id).collect();
        let users = users::by_ids(db, ADMINISTRATOR, &ids).await?;
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
    type Codec = JsonCodec;
    type Compact = Value;

    fn codec(&self) -> &JsonCodec {
        &JsonCodec
    }
}

impl Codec<Value> for JsonCodec {
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
        let attempts = jobs::attempts(db, ADMINISTRATOR, &[job.id]).await?;
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
        let shown = self.to_tasks(vec![job]).await?.pop();
        Ok(shown.map(|task| {
            task.map_args(|mut args| {
                args["attempts"] = Value::Array(attempts);
                args
            })
        }))
    }
}
