//! GraphQL over HTTP: requests, their retries, and the meaning of responses.

use super::context::Pace;
use super::error::{ClientError, root_cause};
use super::model::UserError;
use super::operations::Operation;
use super::text::{Text, printable};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, LOCATION};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;
use url::{Host, Url};

/// A gateway, with the token.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) token: Option<String>,
    pub(crate) pace: Pace,
}

/// A GraphQL response, in either media type or of a subscription.
#[derive(Deserialize)]
pub(crate) struct Response {
    pub(crate) data: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) errors: Vec<RequestError>,
}

/// One of a response's `errors`.
#[derive(Deserialize)]
pub(crate) struct RequestError {
    message: Text,
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    code: Option<Text>,
}

impl Gateway {
    pub(crate) fn new(url: Url, token: Option<String>, pace: Pace) -> Result<Self, ClientError> {
        // Fails where it is installed already, which is fine: the whole program uses this provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            // A redirected POST would become a GET. The error says where the gateway redirects to.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Setup(root_cause(&error)))?;
        Ok(Self {
            http,
            url,
            token,
            pace,
        })
    }

    /// Sends an operation. One that may be repeated is tried again while the gateway cannot be reached or is overloaded.
    pub(crate) async fn execute<O: Operation>(
        &self,
        variables: &Value,
    ) -> Result<O::Data, ClientError> {
        let mut failures = 0;
        loop {
            match self.send::<O>(variables).await {
                Err(error)
                    if O::REPEATABLE && error.may_pass() && failures + 1 < self.pace.attempts =>
                {
                    failures += 1;
                    tokio::time::sleep(self.pace.delay(failures)).await;
                }
                result => return result,
            }
        }
    }

    async fn send<O: Operation>(&self, variables: &Value) -> Result<O::Data, ClientError> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(
                ACCEPT,
                "application/graphql-response+json, application/json;q=0.9",
            )
            .json(&O::request(variables));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(printable);
        let body = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthenticated());
        }
        match serde_json::from_slice::<Response>(&body) {
            Ok(answer) if answer.data.is_some() || !answer.errors.is_empty() => self.read(answer),
            _ if matches!(status.as_u16(), 429 | 502..=504) => Err(ClientError::Unreachable {
                url: self.url.clone(),
                reason: format!("HTTP {status}"),
            }),
            _ => Err(self.not_a_gateway(match location {
                Some(place) if status.is_redirection() => format!("it redirects to {place}"),
                _ => format!("HTTP {status} without a GraphQL response"),
            })),
        }
    }

    /// Returns the value of the only field of a response. Fails with its `errors`, or with the `userErrors` of a mutation.
    pub(crate) fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        if let Some(error) = response.errors.into_iter().next() {
            return Err(self.request_error(error));
        }
        let not_understood =
            |error: serde_json::Error| self.not_a_gateway(printable(&error.to_string()));
        let mut fields = response.data.unwrap_or_default().into_iter();
        let mut value = fields.next().map(|(_, value)| value).unwrap_or_default();
        if let Some(errors) = value.get_mut("userErrors") {
            let errors: Vec<UserError> =
                serde_json::from_value(errors.take()).map_err(not_understood)?;
            if !errors.is_empty() {
                return Err(ClientError::Refused(errors));
            }
        }
        serde_json::from_value(value).map_err(not_understood)
    }

    fn request_error(&self, error: RequestError) -> ClientError {
        let code = error.extensions.and_then(|extensions| extensions.code);
        match code {
            Some(code) if code.raw() == "UNAUTHENTICATED" => self.unauthenticated(),
            code => ClientError::Request {
                code: code.unwrap_or(Text::from("UNKNOWN")),
                message: error.message,
            },
        }
    }

    pub(crate) fn unauthenticated(&self) -> ClientError {
        ClientError::Unauthenticated {
            url: self.url.clone(),
            had_token: self.token.is_some(),
        }
    }

    fn not_a_gateway(&self, reason: String) -> ClientError {
        ClientError::NotAGateway {
            url: self.url.clone(),
            reason,
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let reason = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            root_cause(error)
        };
        ClientError::Unreachable {
            url: self.url.clone(),
            reason,
        }
    }
}

/// Returns whether a URL is on this machine, where no proxy is needed and no one else can listen.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
