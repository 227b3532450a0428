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

/// A password that nobody guesses.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

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

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
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
        let answer = self.http.get(self.url(path)).send().await;
        answer.ok().map(|answer| answer.status())
    }

    /// A copy of this client whose requests have one header more.
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
        let body = json!({"query": query, "variables": variables});
        let request = self.http.post(self.url("/graphql")).json(&body);
        self.answer(self.dressed(request)).await
    }

    /// The answer to a query by GET.
    pub(crate) async fn query_by_get(&self, query: &str) -> Value {
        let request = self.http.get(self.url("/graphql"));
        let request = self.dressed(request.query(&[("query", query)]));
        self.answer(request).await.json().await.unwrap()
    }

    fn dressed(&self, mut request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// The whole answer to a body of JSON as it is.
    pub(crate) async fn send_text(&self, body: String) -> (StatusCode, Value) {
        let request = self.http.post(self.url("/graphql")).body(body);
        let request = request
            .header("accept", "application/graphql-response+json")
            .header("content-type", "application/json");
        let answer = self.answer(self.dressed(request)).await;
        (answer.status(), answer.json().await.unwrap())
    }

    /// The status of a request that needs a token.
    pub(crate) async fn status(&self) -> StatusCode {
        self.send("{ viewer { name } }", json!({})).await.0
    }

    /// The code of an answer's first error; null where there is none.
    pub(crate) async fn error_code(&self, query: &str, variables: Value) -> Value {
        let (_, answer) = self.send(query, variables).await;
        answer["errors"][0]["extensions"]["code"].clone()
    }

    /// The data of an operation that must succeed.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let (_, mut answer) = self.send(query, variables).await;
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// A plain request, with this client's headers and no token.
    pub(crate) async fn request(&self, method: Method, path: &str) -> Response {
        let mut request = self.http.request(method, self.url(path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    /// A plain GET of another path.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.dressed(self.http.get(self.url(path)));
        request.send().await.unwrap()
    }

    /// Signs in. Returns a client with the new token.
    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Self {
        let input = json!({"name": name, "password": password});
        let signed_in = done(self, "signIn", input, "token").await;
        self.with_token(signed_in["token"].as_str())
    }

    /// Signs in as a browser does. The answer has the cookie.
    pub(crate) async fn sign_in_with_cookie(&self, name: &str, password: &str) -> Response {
        let query = "mutation($input: SignInInput!) {
            signIn(input: $input) { token user { name } userErrors { code } }
        }";
        let input = json!({"name": name, "password": password, "cookie": true});
        self.post(query, json!({"input": input})).await
    }

    /// The id of this client's user.
    pub(crate) async fn viewer_id(&self) -> String {
        id(&self.ask("{ viewer { id } }", json!({})).await["viewer"])
    }

    /// Bans a user, as an administrator.
    pub(crate) async fn ban(&self, user_id: &str) {
        let input = json!({"userId": user_id, "status": "BANNED"});
        let banned = done(self, "updateUser", input, "user { status }").await;
        assert_eq!(banned["user"]["status"], "BANNED", "{banned}");
    }

    /// The payload of `pullImage`.
    pub(crate) async fn try_pull(&self, input: Value) -> Value {
        let query = mutation("pullImage", "job { ...J }") + JOB;
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
        let query = mutation("removeImage", "job { ...J }") + JOB;
        let input = json!({"input": {"imageId": image_id}});
        self.ask(&query, input).await["removeImage"].take()
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

    /// Waits until a job runs.
    pub(crate) async fn runs(&self, job_id: &str) {
        self.job_when(job_id, "runs", |job| job["state"] == "RUNNING")
            .await;
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
            let hosts = "{ hosts { nodes { id name online } } }";
            let hosts = self.ask(hosts, json!({})).await;
            let mut hosts = hosts["hosts"]["nodes"].as_array().unwrap().iter();
            let host = hosts.find(|host| host["name"] == name && host["online"] == true);
            host.map(id)
        })
        .await
    }
}

/// The id of something.
pub(crate) fn id(of: &Value) -> String {
    of["id"].as_str().expect("an id").to_owned()
}

/// The document of a mutation with one input. Of its payload it asks for these fields, and for what the caller can mend.
pub(crate) fn mutation(name: &str, fields: &str) -> String {
    let capital = name[..1].to_uppercase();
    format!(
        "mutation($input: {capital}{}Input!) {{ {name}(input: $input) {{ {fields} userErrors {{ code message field }} }} }}",
        &name[1..]
    )
}

/// The payload of a mutation with one input.
pub(crate) async fn mutate(client: &Client, name: &str, input: Value, fields: &str) -> Value {
    let query = mutation(name, fields);
    client.ask(&query, json!({"input": input})).await[name].take()
}

/// The payload of a mutation that must be done.
pub(crate) async fn done(client: &Client, name: &str, input: Value, fields: &str) -> Value {
    let payload = mutate(client, name, input, fields).await;
    assert_eq!(payload["userErrors"], json!([]), "{name}");
    payload
}
