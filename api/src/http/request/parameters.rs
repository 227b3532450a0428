//! The parameters of a GraphQL request, the same in a POST body, a query string and a `subscribe` message.

use std::collections::HashMap;

use async_graphql::{Request, Value, Variables};
use serde::Deserialize;
use url::form_urlencoded;

use super::json_object::Object;

/// Why a request could not be read. The text goes to the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadParameters {
    /// An array of requests, where batches are off.
    #[error("batches are not supported: send one request object at a time")]
    Batch,
    /// An array without requests.
    #[error("the batch is empty")]
    EmptyBatch,
    /// Nothing but white space.
    #[error("the request body is empty: send a JSON object with a \"query\"")]
    Empty,
    /// Not JSON, or JSON of another shape.
    #[error("the request is not a JSON object with a string \"query\": {0}")]
    Json(#[source] serde_json::Error),
    /// A parameter of a query string or form that is not the JSON object that it has to be.
    #[error("the parameter {name:?} is not a JSON object: {source}")]
    Parameter {
        /// `variables` or `extensions`.
        name: &'static str,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
}

/// GraphQL over HTTP, "Request parameters". All of them may be null or absent, `query` only where the document is named by
/// its hash.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Variables>,
    pub(crate) extensions: Option<HashMap<String, Value>>,
}

/// The requests of a JSON body.
#[derive(Debug)]
pub(crate) enum Body {
    One(Parameters),
    Batch(Vec<Parameters>),
}

impl Body {
    /// Reads a JSON body. Detects a batch first, so that its errors are about the batch.
    pub(crate) fn from_json(body: &[u8], batches: bool) -> Result<Self, BadParameters> {
        match body.trim_ascii_start().first() {
            None => Err(BadParameters::Empty),
            Some(b'[') if !batches => Err(BadParameters::Batch),
            Some(b'[') => serde_json::from_slice::<Vec<Object<_>>>(body)
                .map(|batch| Self::Batch(batch.into_iter().map(|Object(one)| one).collect()))
                .map_err(BadParameters::Json),
            Some(_) => serde_json::from_slice(body)
                .map(|Object(one)| Self::One(one))
                .map_err(BadParameters::Json),
        }
    }
}

impl Parameters {
    /// Reads the query string of a GET, or a form. An empty parameter counts as absent, because HTML forms and tools send
    /// it so.
    pub(crate) fn from_form(text: &[u8]) -> Result<Self, BadParameters> {
        let mut given: HashMap<_, _> = form_urlencoded::parse(text)
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Self {
            query: given.remove("query").map(Into::into),
            operation_name: given.remove("operationName").map(Into::into),
            variables: object("variables", given.remove("variables").as_deref())?,
            extensions: object("extensions", given.remove("extensions").as_deref())?,
        })
    }

    /// Returns the request for this document.
    pub(crate) fn into_request(self, document: String) -> Request {
        let mut request = Request::new(document);
        request.operation_name = self.operation_name;
        request.variables = self.variables.unwrap_or_default();
        request.extensions.0 = self.extensions.unwrap_or_default();
        request
    }
}

fn object<T: for<'de> Deserialize<'de>>(
    name: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, BadParameters> {
    // Null counts as absent, as in a body.
    serde_json::from_str(text.unwrap_or("null"))
        .map_err(|source| BadParameters::Parameter { name, source })
}
