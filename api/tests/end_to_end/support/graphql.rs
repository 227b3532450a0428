//! A client of the GraphQL endpoint: of a program over HTTP, or of a router in this process.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::until;

/// What tests look at in a job.
const JOB: &str = "fragment J on Job {
    id kind state reference attempt maxAttempts held
    host { id name } image { id } error { code message retryable }
    attempts { number worker finishedAt error { code } }
}";

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Answers in the place of a server.
    router: Option<Router>,
    /// `127.0.0.1:port`
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    /// The trace that this client's requests are part of, as a W3C header.
    pub(crate) traceparent: Option<String>,
    /// What a browser would add.
    pub(crate) headers: Vec<(String, String)>,
}

impl Client {
    /// A client with a token, or none.
    pub(crate) fn new(address: &str, token: Option<&str>) -> Self {
        // The second client of this process finds one installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        Self {
            http: builder.build().unwrap(),
            router: None,
            address: address.to_owned(),
            token: token.map(ToOwned::to_owned),
            traceparent: None,
            headers: Vec::new(),
        }
    }

    /// A client of a router in this process, from 127.0.0.1.
    pub(crate) fn of(router: &Router, token: Option<&str>) -> Self {
        Self {
            router: Some(router.clone()),
            ..Self::new("127.0.0.1", token)
        }
    }

    /// A copy of this client with another token, or none.
    pub(crate) fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(ToOwned::to_owned),
            ..self.clone()
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Response {
        let Some(router) = &self.router else {
            return request.send().await.unwrap();
        };
        let request = axum::http::Request::try_from(request.build().unwrap()).unwrap();
        let mut request = request.map(Body::new);
        // As the connection of a server adds them.
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)));
        request.extensions_mut().insert(peer);
        let host = self.address.parse().unwrap();
        request.headers_mut().insert("host", host);
        let answer = router.clone().oneshot(request).await.unwrap();
        answer
            .map(|body| reqwest::Body::wrap_stream(body.into_data_stream()))
            .into()
    }

    /// The status of a page, if anything answers there.
    pub(crate) async fn try_get(&self, path: &str) -> Option<StatusCode> {
        let request = self.http.get(format!("http://{}{path}", self.address));
        request.send().await.ok().map(|answer| answer.status())
    }

    /// A copy of this client whose requests belong to a trace.
    pub(crate) fn in_trace(&self, traceparent: &str) -> Self {
        Self {
            traceparent: Some(traceparent.to_owned()),
            ..self.clone()
        }
    }

    /// The same with one header more.
    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The whole answer to an operation, errors and all.
    pub(crate) async fn send(&self, query: &str, variables: Value) -> (StatusCode, Value) {
        let answer = self.post(query, variables).await;
        (answer.status(), answer.json().await.unwrap())
    }

    /// The answer to an operation with its headers.
    pub(crate) async fn post(&self, query: &str, variables: Value) -> Response {
        let accept = "application/graphql-response+json";
        self.with_header("accept", accept)
            .stream(query, variables)
            .await
    }

    /// The answer to an operation in what this client's headers ask for.
    pub(crate) async fn stream(&self, query: &str, variables: Value) -> Response {
        let request = self
            .http
            .post(format!("http://{}/graphql", self.address))
            .json(&json!({"query": query, "variables": variables}));
        self.answer(self.dressed(request)).await
    }

    /// The answer to a query by GET.
    pub(crate) async fn query_by_get(&self, query: &str) -> Value {
        let url = format!("http://{}/graphql", self.address);
        let request = self.http.get(url).query(&[("query", query)]);
        let answer = self.answer(self.dressed(request)).await;
        answer.json().await.unwrap()
    }

    fn dressed(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// The whole answer to a body of JSON as it is.
    pub(crate) async fn send_text(&self, body: String) -> (StatusCode, Value) {
        let request = self
            .http
            .post(format!("http://{}/graphql", self.address))
            .header("accept", "application/graphql-response+json")
            .header("content-type", "application/json")
            .bearer_auth(self.token.as_deref().unwrap_or_default())
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// The data of an operation that must succeed.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let (_, mut answer) = self.send(query, variables).await;
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// A plain request, with this client's headers and no token.
    pub(crate) async fn request(&self, method: Method, path: &str) -> Response {
        self.request_with(method, path, String::new()).await
    }

    /// The same with a body.
    pub(crate) async fn request_with(&self, method: Method, path: &str, body: String) -> Response {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    /// A plain GET of another path.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("http://{}{path}", self.address);
        self.dressed(self.http.get(url)).send().await.unwrap()
    }

    /// The payload of `pullImage`.
    pub(crate) async fn try_pull(&self, input: Value) -> Value {
        let query = format!(
            "mutation($input: PullImageInput!) {{
                pullImage(input: $input) {{ job {{ ...J }} userErrors {{ code message field }} }}
            }} {JOB}"
        );
        self.ask(&query, json!({"input": input})).await["pullImage"].take()
    }

    /// The id of a pull that must be accepted.
    pub(crate) async fn pull(&self, reference: &str) -> String {
        self.accepted(json!({"reference": reference})).await
    }

    /// The same onto a host.
    pub(crate) async fn pull_onto(&self, host_id: &str, reference: &str) -> String {
        let input = json!({"reference": reference, "hostId": host_id});
        self.accepted(input).await
    }

    async fn accepted(&self, input: Value) -> String {
        let payload = self.try_pull(input).await;
        assert_eq!(payload["userErrors"], json!([]));
        id(&payload["job"])
    }

    /// The payload of `removeImage`.
    pub(crate) async fn remove(&self, image_id: &str) -> Value {
        let query = format!(
            "mutation($id: ID!) {{
                removeImage(input: {{imageId: $id}}) {{ job {{ ...J }} userErrors {{ code message field }} }}
            }} {JOB}"
        );
        self.ask(&query, json!({"id": image_id})).await["removeImage"].take()
    }

    /// A job as it is now.
    pub(crate) async fn job(&self, job_id: &str) -> Value {
        let query = format!("query($id: ID!) {{ job(id: $id) {{ ...J }} }} {JOB}");
        self.ask(&query, json!({"id": job_id})).await["job"].take()
    }

    /// A job, once it looks as it should.
    pub(crate) async fn job_when(
        &self,
        job_id: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        until(&format!("{job_id} {what}"), async || {
            Some(self.job(job_id).await).filter(&holds)
        })
        .await
    }

    /// A job, once it has ended.
    pub(crate) async fn ended(&self, job_id: &str) -> Value {
        let finals = ["SUCCEEDED", "FAILED", "DEAD", "CANCELLED"];
        self.job_when(job_id, "ends", |job| {
            finals.contains(&job["state"].as_str().unwrap())
        })
        .await
    }

    /// A job, once it has ended well.
    pub(crate) async fn succeeded(&self, job_id: &str) -> Value {
        let job = self.ended(job_id).await;
        assert_eq!(job["state"], "SUCCEEDED", "{job}");
        job
    }

    /// `available`, `held` and `total`.
    pub(crate) async fn balance(&self) -> Value {
        let query = "{ balance { available held total } }";
        self.ask(query, json!({})).await["balance"].take()
    }

    /// The id of a host, once it is online.
    pub(crate) async fn online_host(&self, name: &str) -> String {
        until(&format!("host {name} is online"), async || {
            let hosts = self
                .ask("{ hosts { nodes { id name online } } }", json!({}))
                .await;
            let hosts = hosts["hosts"]["nodes"].as_array().unwrap().clone();
            let host = hosts
                .iter()
                .find(|host| host["name"] == name && host["online"] == true);
            host.map(id)
        })
        .await
    }
}

/// The id of something.
pub(crate) fn id(of: &Value) -> String {
    of["id"].as_str().expect("an id").to_owned()
}

/// The payload of a mutation with one input.
pub(crate) async fn mutate(client: &Client, mutation: &str, input: Value, fields: &str) -> Value {
    let capital = mutation[..1].to_uppercase();
    let query = format!(
        "mutation($input: {capital}{}Input!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code message field }} }} }}",
        &mutation[1..]
    );
    client.ask(&query, json!({"input": input})).await[mutation].take()
}

/// The payload of a mutation that must be done.
pub(crate) async fn done(client: &Client, mutation: &str, input: Value, fields: &str) -> Value {
    let payload = mutate(client, mutation, input, fields).await;
    assert_eq!(payload["userErrors"], json!([]), "{mutation}");
    payload
}
