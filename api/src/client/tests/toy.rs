//! A gateway with values of the contract. Tests set its responses beforehand.

use super::contract::execute;
use super::values::{balance, host, user_error, viewer};
use async_graphql::futures_util::stream::{self, BoxStream, StreamExt as _};
use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql::{Data, ErrorExtensions as _, Executor, Request, Response};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

pub(super) const TOKEN: &str = "good-token";

/// The course of one subscription.
pub(super) enum Script {
    /// Sends these, then breaks the connection.
    Cut(Vec<Value>),
    /// Sends these and completes.
    Complete(Vec<Value>),
    /// Sends these, then nothing more.
    Hang(Vec<Value>),
}

/// The data of the toy, and the requests that it got.
#[derive(Default)]
pub(super) struct Toy {
    pub(super) images: Vec<Value>,
    /// The answers of `job(id)`, in turn; the last one stays.
    pub(super) jobs: Mutex<VecDeque<Value>>,
    pub(super) scripts: Mutex<VecDeque<Script>>,
    pub(super) user_error: Option<Value>,
    /// The keys and references that `pullImage` was sent.
    pub(super) pulls: Mutex<Vec<(String, String)>>,
    pub(super) removed: Mutex<Vec<Value>>,
    /// The number of HTTP requests that are refused first.
    pub(super) unavailable: Mutex<u32>,
    pub(super) without_sockets: bool,
    /// Rings when a script has nothing more to send.
    pub(super) hanging: Notify,
    /// Breaks the connection.
    pub(super) cut: Notify,
}

impl Toy {
    /// Serves on a free port and returns the endpoint. The server ends with the test's runtime.
    pub(super) async fn serve(self) -> (String, Arc<Self>) {
        let toy = Arc::new(self);
        let route = if toy.without_sockets {
            post(http)
        } else {
            post(http).get(websocket)
        };
        let app = Router::new()
            .route("/graphql", route)
            .with_state(Served(toy.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/graphql", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, toy)
    }

    /// Returns the value of a field of `Query` or `Mutation`.
    fn resolve(&self, field: &str, variables: &Value) -> Value {
        let input = &variables["input"];
        match field {
            "viewer" => viewer(),
            "balance" => balance(),
            "hosts" => page(&[host(1), host(2)], variables),
            "image" => {
                let named = |image: &&Value| image["id"] == variables["id"];
                json!(self.images.iter().find(named))
            }
            "images" => page(&self.images, variables),
            "job" => {
                let mut jobs = self.jobs.lock().unwrap();
                let job = if jobs.len() > 1 {
                    jobs.pop_front()
                } else {
                    jobs.front().cloned()
                };
                json!(job.filter(|job| job["id"] == variables["id"]))
            }
            "jobs" => page(self.jobs.lock().unwrap().make_contiguous(), variables),
            "signIn" if *input == json!({ "name": "alice", "password": "right" }) => {
                json!({ "token": TOKEN, "userErrors": [] })
            }
            "signIn" => refusal(&user_error("INVALID_CREDENTIALS", "wrong name or password")),
            "pullImage" => {
                let text = |name: &str| input[name].as_str().unwrap().to_owned();
                let place = input["hostId"].as_str().map(|id| format!(" on {id}"));
                let pulled = text("reference") + &place.unwrap_or_default();
                let pull = (text("idempotencyKey"), pulled);
                self.pulls.lock().unwrap().push(pull);
                self.payload()
            }
            "removeImage" => {
                assert!(input["idempotencyKey"].is_string());
                self.removed.lock().unwrap().push(input["imageId"].clone());
                self.payload()
            }
            "cancelJob" | "retryJob" => {
                assert_eq!(input["jobId"], "job-1");
                assert_eq!(input["idempotencyKey"].is_string(), field == "retryJob");
                self.payload()
            }
            other => panic!("the toy has no {other}"),
        }
    }

    fn payload(&self) -> Value {
        match &self.user_error {
            Some(error) => refusal(error),
            None => json!({ "job": self.jobs.lock().unwrap().front(), "userErrors": [] }),
        }
    }
}

fn refusal(error: &Value) -> Value {
    json!({ "userErrors": [error] })
}

/// Returns a page of one node of those that match the filter, so that every list needs its cursor.
fn page(all: &[Value], variables: &Value) -> Value {
    let filter = &variables["filter"];
    let matches = |node: &&Value| {
        let states = filter["states"].as_array();
        let search = filter["search"].as_str();
        states.is_none_or(|states| states.contains(&node["state"]))
            && search.is_none_or(|text| node["reference"].as_str().unwrap().contains(text))
    };
    let all: Vec<_> = all.iter().filter(matches).collect();
    let after = variables["after"].as_str();
    let start: usize = after.map_or(0, |cursor| cursor.parse().unwrap());
    let nodes = all.get(start..=start).unwrap_or_default();
    let page_info =
        json!({ "hasNextPage": start + 1 < all.len(), "endCursor": (start + 1).to_string() });
    json!({ "nodes": nodes, "pageInfo": page_info })
}

/// The toy, as servers take it.
#[derive(Clone)]
struct Served(Arc<Toy>);

impl Executor for Served {
    async fn execute(&self, request: Request) -> Response {
        execute(&request, |field, variables| {
            self.0.resolve(field, variables)
        })
    }

    fn execute_stream(
        &self,
        request: Request,
        _: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let toy = self.0.clone();
        let script = toy.scripts.lock().unwrap().pop_front();
        let (events, cut) = match script.expect("one script for each subscription") {
            Script::Complete(events) => (events, None),
            Script::Cut(events) => (events, Some(true)),
            Script::Hang(events) => (events, Some(false)),
        };
        let responses = stream::iter(events).map(move |event| {
            execute(&request, |field, variables| {
                assert!(field == "jobUpdated" || variables["jobId"] == "job-1");
                event
            })
        });
        let Some(cut) = cut else {
            return responses.boxed();
        };
        let end = stream::once(async move {
            let ended = if cut { &toy.cut } else { &toy.hanging };
            ended.notify_one();
            std::future::pending().await
        });
        responses.chain(end).boxed()
    }
}

async fn http(
    State(served): State<Served>,
    headers: HeaderMap,
    Json(request): Json<Request>,
) -> axum::response::Response {
    let refused = {
        let mut left = served.0.unavailable.lock().unwrap();
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
        return Json(Response::from_errors(vec![
            error.into_server_error(async_graphql::Pos::default()),
        ]))
        .into_response();
    }
    Json(served.execute(request).await).into_response()
}

async fn websocket(
    State(served): State<Served>,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .on_upgrade(move |socket| async move {
            let toy = served.0.clone();
            let serve = GraphQLWebSocket::new(socket, served, protocol).on_connection_init(
                |payload| async move {
                    if payload["authorization"] == format!("Bearer {TOKEN}") {
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
