//! The stream of events that the board's page reads: log lines, each about a job's change of state.

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

use super::auth::BoardAuth;
use crate::graphql::Kind;

/// Streams every change of state of a job from now on. Lost events are not made up for, because the page reads the rest
/// again. The stream ends when its caller is no longer an administrator, or their token is no longer good.
pub(super) async fn stream(
    auth: BoardAuth,
    admin: Arc<Authenticated>,
    headers: HeaderMap,
    stop: CancellationToken,
) -> Response {
    let session = auth.tokens.sessions.open(&admin);
    // The right may have been taken away before the session was open, and the session not ended by that.
    if let Err(refusal) = auth.administrator(&headers, None).await {
        return refusal;
    }
    let over = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = session.revoked().cancelled() => {}
            () = session.demoted().cancelled() => {}
        }
    };
    let clock = auth.services.clock.clone();
    let lines = auth
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
