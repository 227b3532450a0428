//! The routes that apalis-board's page reads, answered as its own server does, but from the jobs table. That server knows
//! only the queues that it was built with, and hosts come and go.

use std::collections::HashMap;

use apalis_board_api::RawTask;
use apalis_core::backend::{Filter, QueueInfo, RunningWorker, Statistic};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use uuid::Uuid;
use wharfinger_entity::{host, job};
use wharfinger_jobs::hosts;
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

type Answer<T> = Result<Json<T>, Failure>;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no such queue or task")]
    NotFound,
    #[error("could not look for a queue")]
    Queue(#[source] DbErr),
    #[error("the database failed")]
    Database(#[from] DbErr),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match &self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Queue(error) => {
                tracing::error!(%error, "{self}");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Self::Database(source) => {
                tracing::error!(error = %source, "{self}");
                let error = json!({ "type": "BackendError", "message": self.to_string() });
                (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response()
            }
        }
    }
}

/// Returns the routes. Their answers are not stored.
pub(super) fn routes() -> Router<Services> {
    Router::new()
        .route("/queues", get(queues))
        .route("/overview", get(stats))
        .route("/queues/{queue}/stats", get(stats))
        .route("/workers", get(workers))
        .route("/queues/{queue}/workers", get(workers))
        .route("/tasks", get(tasks))
        .route("/queues/{queue}/tasks", get(tasks))
        .route("/queues/{queue}/tasks/{id}", get(task_of_queue))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(middleware::map_request(with_given_parameters))
        .layer(middleware::map_response(fresh))
}

async fn queues(State(services): State<Services>) -> Answer<Vec<QueueInfo>> {
    let db = &services.db;
    let counts = board::counts(db, None).await?;
    let activity = board::activity(db, services.clock.now()).await?;
    let none = Counts::default();
    let queues = board::hosts(db).await?.into_iter().map(|host| QueueInfo {
        stats: statistics(counts.get(&host.id).unwrap_or(&none)),
        activity: activity.get(&host.id).copied().unwrap_or_default().to_vec(),
        workers: vec![host.name.clone()],
        name: host.name,
    });
    Ok(Json(queues.collect()))
}

async fn stats(
    State(services): State<Services>,
    queue: Option<Path<String>>,
) -> Answer<Vec<Statistic>> {
    let host = asked_for(&services, queue).await?;
    let counts = board::counts(&services.db, host.map(|host| host.id)).await?;
    let all = counts.values().fold(Counts::default(), Counts::with);
    Ok(Json(statistics(&all)))
}

async fn workers(
    State(services): State<Services>,
    queue: Option<Path<String>>,
) -> Answer<Vec<RunningWorker>> {
    let host = asked_for(&services, queue).await?;
    let hosts = host_or_all(&services, host).await?;
    Ok(Json(hosts.iter().map(worker).collect()))
}

async fn tasks(
    State(services): State<Services>,
    queue: Option<Path<String>>,
    Query(filter): Query<Filter>,
) -> Answer<Vec<RawTask<Value>>> {
    let host = asked_for(&services, queue).await?;
    let standing = match filter.status.as_ref().map(standing) {
        Some(None) => return Ok(Json(Vec::new())),
        asked => asked.flatten(),
    };
    let limit = u64::from(filter.limit()).clamp(1, MOST);
    let offset = u64::from(filter.page.saturating_sub(1)) * limit;
    let host_id = host.as_ref().map(|host| host.id);
    let jobs = board::tasks(&services.db, host_id, standing, offset, limit).await?;
    Ok(Json(to_tasks(&services, jobs, host).await?))
}

/// Returns one task, with its attempts among its arguments.
async fn task_of_queue(
    State(services): State<Services>,
    Path((queue, id)): Path<(String, String)>,
) -> Answer<RawTask<Value>> {
    let host = host(&services, &queue).await?;
    let id = Kind::Job.parse(&id.into()).ok_or(Failure::NotFound)?;
    let db = &services.db;
    let job = board::task(db, host.id, id).await?;
    let job = job.ok_or(Failure::NotFound)?;
    let attempts = jobs::attempts(db, ADMINISTRATOR, &[job.id]).await?;
    let attempts = attempts.into_iter().map(|attempt| {
        json!({
            "number": attempt.number,
            "worker": attempt.worker,
            "error": attempt.error_code,
            "message": attempt.error_message,
        })
    });
    let shown = to_tasks(&services, vec![job], Some(host)).await?.pop();
    let RawTask(task) = shown.ok_or(Failure::NotFound)?;
    Ok(Json(RawTask(task.map_args(|mut args| {
        args["attempts"] = attempts.collect();
        args
    }))))
}

/// Returns the host of a queue. Fails where there is none.
async fn host(services: &Services, queue: &str) -> Result<host::Model, Failure> {
    let host = hosts::named(services.db.read(), queue).await;
    host.map_err(Failure::Queue)?.ok_or(Failure::NotFound)
}

/// Returns the host of the queue that a request is about; `None` for all queues.
async fn asked_for(
    services: &Services,
    queue: Option<Path<String>>,
) -> Result<Option<host::Model>, Failure> {
    match queue {
        Some(Path(queue)) => host(services, &queue).await.map(Some),
        None => Ok(None),
    }
}

async fn host_or_all(
    services: &Services,
    host: Option<host::Model>,
) -> Result<Vec<host::Model>, DbErr> {
    match host {
        Some(host) => Ok(vec![host]),
        None => board::hosts(&services.db).await,
    }
}

/// Returns jobs of a host, or of any, as tasks with the names of their users and hosts.
async fn to_tasks(
    services: &Services,
    jobs: Vec<job::Model>,
    host: Option<host::Model>,
) -> Result<Vec<RawTask<Value>>, DbErr> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.user_id).collect();
    let users = users::by_ids(&services.db, ADMINISTRATOR, &ids).await?;
    let users: HashMap<Uuid, &str> = users.iter().map(|user| (user.id, &*user.name)).collect();
    let hosts = host_or_all(services, host).await?;
    let hosts: HashMap<Uuid, &str> = hosts.iter().map(|host| (host.id, &*host.name)).collect();
    let tasks = jobs.iter().map(|job| {
        let host = job.host_id.and_then(|id| hosts.get(&id));
        RawTask(task(job, users.get(&job.user_id).copied(), host.copied()))
    });
    Ok(tasks.collect())
}

/// Takes empty parameters, which the page sends and which are no values, out of a request's query.
async fn with_given_parameters(mut request: Request) -> Request {
    let query = without_empty(request.uri().query().unwrap_or_default());
    let uri = format!("{}?{query}", request.uri().path());
    if let Ok(uri) = Uri::try_from(uri) {
        *request.uri_mut() = uri;
    }
    request
}

fn without_empty(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.ends_with('='))
        .collect::<Vec<_>>()
        .join("&")
}

async fn fresh(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    #[test]
    fn empty_parameters_are_left_out() {
        let query = "&page=1&page_size=15&queue=&status=";
        assert_eq!(super::without_empty(query), "page=1&page_size=15");
    }
}
