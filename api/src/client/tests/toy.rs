//! A gateway with the fields of the contract that the client selects. Tests set its responses beforehand.

use super::toy_schema::{Mutation, Query, Subscriptions};
use super::toy_types::{Image, Job, JobPayload, PullProgress, UserError};
use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql::{Data, ErrorExtensions as _, Schema};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

pub(super) const TOKEN: &str = "good-token";

/// The course of one subscription.
pub(super) enum Script {
    /// Sends these, then breaks the connection.
    Cut(Vec<PullProgress>),
    /// Sends these and completes.
    Complete(Vec<PullProgress>),
    /// Sends these, then nothing more.
    Hang(Vec<PullProgress>),
}

/// The data of the toy, and the requests that it got.
#[derive(Default)]
pub(super) struct Toy {
    pub(super) images: Mutex<Vec<Image>>,
    /// The answers of `job(id)`, in turn; the last one stays.
    pub(super) jobs: Mutex<VecDeque<Job>>,
    pub(super) scripts: Mutex<VecDeque<Script>>,
    pub(super) updates: Mutex<Vec<Job>>,
    pub(super) user_error: Mutex<Option<UserError>>,
    /// The keys and references that `pullImage` was sent.
    pub(super) pulls: Mutex<Vec<(String, String)>>,
    pub(super) removed: Mutex<Vec<String>>,
    /// The number of HTTP requests that are refused first.
    pub(super) unavailable: Mutex<u32>,
    pub(super) without_sockets: bool,
    /// Rings when a script has nothing more to send.
    pub(super) hanging: Arc<Notify>,
    /// Breaks the connection.
    pub(super) cut: Arc<Notify>,
}

type Served = Schema<Query, Mutation, Subscriptions>;

impl Toy {
    /// Serves on a free port and returns the endpoint. The server ends with the test's runtime.
    pub(super) async fn serve(self) -> (String, Arc<Self>) {
        let toy = Arc::new(self);
        let schema = Schema::build(Query, Mutation, Subscriptions)
            .data(toy.clone())
            .finish();
        let route = if toy.without_sockets {
            post(http)
        } else {
            post(http).get(websocket)
        };
        let app = Router::new()
            .route("/graphql", route)
            .with_state((schema, toy.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/graphql", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, toy)
    }

    pub(super) fn payload(&self) -> JobPayload {
        match self.user_error.lock().unwrap().clone() {
            Some(error) => JobPayload {
                job: None,
                user_errors: vec![error],
            },
            None => JobPayload {
                job: self.jobs.lock().unwrap().front().cloned(),
                user_errors: vec![],
            },
        }
    }
}

async fn http(
    State((schema, toy)): State<(Served, Arc<Toy>)>,
    headers: HeaderMap,
    Json(request): Json<async_graphql::Request>,
) -> Response {
    let refused = {
        let mut left = toy.unavailable.lock().unwrap();
        let refused = *left > 0;
        *left = left.saturating_sub(1);
        refused
    };
    if refused {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let signed_in = headers
        .get("authorization")
        .is_some_and(|header| header == &format!("Bearer {TOKEN}"));
    if !signed_in && !request.query.contains("signIn") {
        let error = async_graphql::Error::new("sign in first")
            .extend_with(|_, e| e.set("code", "UNAUTHENTICATED"));
        return Json(async_graphql::Response::from_errors(vec![
            error.into_server_error(async_graphql::Pos::default()),
        ]))
        .into_response();
    }
    Json(schema.execute(request).await).into_response()
}

async fn websocket(
    State((schema, toy)): State<(Served, Arc<Toy>)>,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .on_upgrade(move |socket| async move {
            let serve = GraphQLWebSocket::new(socket, schema, protocol).on_connection_init(
                |payload| async move {
                    let expected = format!("Bearer {TOKEN}");
                    if payload["authorization"] == expected.as_str() {
                        Ok(Data::default())
                    } else {
                        Err("sign in first".into())
                    }
                },
            );
            tokio::select! {
                () = serve.serve() => {}
                () = toy.cut.notified() => {}
            }
        })
}
