//! The parameters of a GraphQL request, the same in a POST body, a query string and a `subscribe` message.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use async_graphql::{Request, Value, Variables};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::form_urlencoded;

use crate::http::rejection::Rejection;

/// GraphQL over HTTP, "Request parameters". All may be null or absent, `query` only beside the document's hash.
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
    pub(crate) fn from_json(body: &[u8], batches: bool) -> Result<Self, Rejection> {
        match body.trim_ascii_start().first() {
            None => Err(Rejection::Empty),
            Some(b'[') if !batches => Err(Rejection::Batch),
            Some(b'[') => {
                let batch: Vec<Object<_>> = serde_json::from_slice(body)?;
                Ok(Self::Batch(
                    batch.into_iter().map(|Object(one)| one).collect(),
                ))
            }
            Some(_) => {
                let Object(one) = serde_json::from_slice(body)?;
                Ok(Self::One(one))
            }
        }
    }
}

impl Parameters {
    /// Reads the query string of a GET, or a form. An empty parameter counts as absent, as HTML forms send it.
    pub(crate) fn from_form(text: &[u8]) -> Result<Self, Rejection> {
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
) -> Result<Option<T>, Rejection> {
    // Null counts as absent, as in a body.
    serde_json::from_str(text.unwrap_or("null"))
        .map_err(|source| Rejection::Parameter { name, source })
}

/// A `T` that was read from an object. For a plain struct, serde also accepts an array of its fields' values.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}
