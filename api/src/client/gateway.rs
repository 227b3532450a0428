//! GraphQL over HTTP: requests, their retries, and the meaning of responses.

use super::context::Pace;
use super::error::{ClientError, root_cause};
use super::operations::Operation;
use super::text::{Text, printable};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::{Host, Url};

/// A gateway, with the token.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    pace: Pace,
}

/// A GraphQL response, in either media type.
#[derive(Deserialize)]
struct Response<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<RequestError>,
}

/// One of a response's `errors`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RequestError {
    message: Text,
    #[serde(default)]
    extensions: Option<Extensions>,
}

#[derive(Clone, Debug, Deserialize)]
struct Extensions {
    code: Option<Text>,
}

/// The body of a request, and the payload of a subscription.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a, V> {
    operation_name: &'a str,
    query: &'a str,
    variables: &'a V,
}

impl<'a, V> Request<'a, V> {
    pub(crate) fn of<O: Operation<Variables = V>>(variables: &'a V) -> Self {
        Self {
            operation_name: O::NAME,
            query: O::DOCUMENT,
            variables,
        }
    }
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
        let authorization = token
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
            .transpose();
        let mut authorization =
            authorization.map_err(|error| ClientError::Setup(error.to_string()))?;
        if let Some(header) = &mut authorization {
            header.set_sensitive(true);
        }
        Ok(Self {
            http,
            url,
            authorization,
            pace,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Returns `Bearer …`, for the header and for `connection_init`.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization
            .as_ref()
            .and_then(|header| header.to_str().ok())
    }

    /// Sends an operation. One that may be repeated is tried again while the gateway cannot be reached or is overloaded.
    pub(crate) async fn execute<O: Operation>(
        &self,
        variables: &O::Variables,
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

    async fn send<O: Operation>(&self, variables: &O::Variables) -> Result<O::Data, ClientError> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(
                ACCEPT,
                "application/graphql-response+json, application/json;q=0.9",
            )
            .json(&Request::of::<O>(variables));
        if let Some(header) = &self.authorization {
            request = request.header(AUTHORIZATION, header);
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
        match serde_json::from_slice::<Response<serde_json::Value>>(&body) {
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

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        answer: Response<serde_json::Value>,
    ) -> Result<T, ClientError> {
        if let Some(error) = answer.errors.first() {
            return Err(self.request_error(error));
        }
        let data = answer.data.unwrap_or_default();
        serde_json::from_value(data)
            .map_err(|error| self.not_a_gateway(printable(&error.to_string())))
    }

    /// Returns the error for one of a response's `errors`.
    pub(crate) fn request_error(&self, error: &RequestError) -> ClientError {
        let code = error
            .extensions
            .as_ref()
            .and_then(|extensions| extensions.code.clone());
        match code {
            Some(code) if code.raw() == "UNAUTHENTICATED" => self.unauthenticated(),
            code => ClientError::Request {
                code: code.unwrap_or(Text::from("UNKNOWN")),
                message: error.message.clone(),
            },
        }
    }

    pub(crate) fn unauthenticated(&self) -> ClientError {
        ClientError::Unauthenticated {
            url: self.url.clone(),
            had_token: self.authorization.is_some(),
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
