//! What happens to jobs, as the board's page understands it: lines of a log, each about a job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event as Line, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures::StreamExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wharfinger_entity::JobState;
use wharfinger_jobs::accounts::Authenticated;
use wharfinger_jobs::live::events::{Event, Topic};
use wharfinger_jobs::live::notify::Change;

use super::auth::Door;
use crate::graphql::Kind;

/// Every change of state of a job from now on. One that is missed is missed: the page reads everything else again. It ends
/// when who looks on is no administrator any more, or their token is good for nothing.
pub(super) async fn stream(
    door: Door,
    admin: Arc<Authenticated>,
    headers: HeaderMap,
    stop: CancellationToken,
) -> Response {
    let session = door.sessions.open(&admin);
    // What was taken away before it was noted concerned nobody yet.
    if let Err(refusal) = door.administrator(&headers).await {
        return refusal;
    }
    let over = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = session.revoked().cancelled() => {}
            () = session.demoted().cancelled() => {}
        }
    };
    let clock = door.services.clock.clone();
    let lines = door
        .services
        .events
        .subscribe(Topic::AllJobs)
        .filter_map(move |event| {
            let now = chrono::DateTime::<chrono::Utc>::from(clock.now());
            let line = match event {
                Event::Message(payload) => serde_json::from_slice::<Change>(&payload)
                    .ok()
                    .and_then(|change| line(&change, &now.to_rfc3339())),
                Event::Gap => None,
            };
            std::future::ready(line.map(Ok::<_, Infallible>))
        })
        .take_until(Box::pin(over));
    Sse::new(lines)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response()
}

fn line(change: &Change, timestamp: &str) -> Option<Line> {
    let level = match change.state {
        JobState::Failed | JobState::Dead => "ERROR",
        JobState::Retrying => "WARN",
        _ => "INFO",
    };
    let state = serde_json::to_value(change.state).ok()?;
    let kind = serde_json::to_value(change.kind).ok()?;
    let (state, kind) = (state.as_str()?, kind.as_str()?);
    let line = json!({
        "span": { "attempt": 0, "task_id": Kind::Job.id(change.job_id).to_string(), "name": kind },
        "level": level,
        "timestamp": timestamp,
        "target": "wharfinger",
        "fields": { "message": format!("task.{}: {kind} is {state}", state.to_lowercase()) },
    });
    Line::default().json_data(line).ok()
}
