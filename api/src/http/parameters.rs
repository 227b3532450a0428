//! The parameters of a GraphQL request, the same in a POST body, a query string and a `subscribe` message.

use std::collections::HashMap;

use async_graphql::{Request, Value, Variables};
use serde::Deserialize;
use url::form_urlencoded;

/// Why no request could be read. The text goes to the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadParameters {
    /// An array of requests.
    #[error("batches are not supported: send one request object at a time")]
    Batch,
    /// Nothing, or nothing but white space.
    #[error("the request body is empty: send a JSON object with a \"query\"")]
    Empty,
    /// Not JSON, or JSON of another shape.
    #[error("the request is not a JSON object with a string \"query\": {0}")]
    Json(#[source] serde_json::Error),
    /// A query string without the one parameter that counts.
    #[error("the parameter \"query\" is missing")]
    NoQuery,
    /// A parameter of the query string whose value is not the JSON object that it must be.
    #[error("the parameter {name:?} is not a JSON object: {source}")]
    Parameter {
        /// `variables` or `extensions`.
        name: &'static str,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
}

/// GraphQL over HTTP, "Request parameters"; all but `query` may be null or absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    query: String,
    operation_name: Option<String>,
    variables: Option<Variables>,
    extensions: Option<HashMap<String, Value>>,
}

impl Parameters {
    /// Reads a JSON body. A batch is told apart first, because serde would read an array as the fields in order.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, BadParameters> {
        match body.trim_ascii_start().first() {
            None => Err(BadParameters::Empty),
            Some(b'[') => Err(BadParameters::Batch),
            Some(_) => serde_json::from_slice(body).map_err(BadParameters::Json),
        }
    }

    /// Reads the query string of a GET. An empty parameter counts as absent, as HTML forms and tools send it.
    pub(super) fn from_query_string(text: &str) -> Result<Self, BadParameters> {
        let mut given: HashMap<_, _> = form_urlencoded::parse(text.as_bytes())
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Self {
            query: given
                .remove("query")
                .ok_or(BadParameters::NoQuery)?
                .into_owned(),
            operation_name: given.remove("operationName").map(Into::into),
            variables: object("variables", given.remove("variables").as_deref())?,
            extensions: object("extensions", given.remove("extensions").as_deref())?,
        })
    }
}

fn object<T: for<'de> Deserialize<'de>>(
    name: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, BadParameters> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|source| BadParameters::Parameter { name, source })
}

impl From<Parameters> for Request {
    fn from(parameters: Parameters) -> Self {
        let mut request = Request::new(parameters.query);
        request.operation_name = parameters.operation_name;
        request.variables = parameters.variables.unwrap_or_default();
        request.extensions.0 = parameters.extensions.unwrap_or_default();
        request
    }
}
