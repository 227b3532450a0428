//! Documents that are named by their SHA-256: automatic persisted queries, and the list of trusted documents.
//!
//! The protocol is Apollo's (<https://www.apollographql.com/docs/apollo-server/performance/apq>). A client sends only the
//! hash, in `extensions.persistedQuery`. Where this process does not know it, the client sends the hash with the document,
//! which is kept for the next time if it is GraphQL, within the limits, short, and without a mutation, whose text can
//! contain a password. The number and bytes of kept documents are bounded, and the least recently used goes first.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Request, ServerError, Value};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::cache::may_be_kept;
use super::recent::Recent;
use super::trusted::TrustedDocuments;
use crate::http::request::parameters::{Object, Parameters};
use crate::http::response::error::{ErrorCode, coded};
use crate::http::transport::TransportSettings;

/// SHA-256 of a document's text.
pub(crate) type Hash = [u8; 32];

/// The source of documents that are named by their hash.
pub(crate) enum Persisted {
    /// Only these documents are executed.
    Trusted(Arc<TrustedDocuments>),
    /// Any document is executed, and those that clients name are kept.
    Any(Recent<Hash, Arc<str>>),
    /// Any document is executed, and none is kept.
    Unnamed,
}

/// Why there is no document to execute. Apollo's clients look for three of these texts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDocument {
    #[error("the request has no \"query\": send a string with a GraphQL document")]
    Missing,
    #[error("PersistedQueryNotFound")]
    NotFound,
    #[error("PersistedQueryNotSupported")]
    NotSupported,
    #[error("extensions.persistedQuery must be {{\"version\": 1, \"sha256Hash\": \"…\"}}")]
    Malformed,
    #[error("provided sha does not match query")]
    Mismatch,
    #[error("this document is not on this server's list of trusted documents")]
    NotTrusted,
}

impl NoDocument {
    /// Returns the GraphQL error.
    pub(crate) fn into_error(self) -> ServerError {
        let code = match self {
            Self::NotFound => Value::from("PERSISTED_QUERY_NOT_FOUND"),
            Self::NotSupported => Value::from("PERSISTED_QUERY_NOT_SUPPORTED"),
            Self::NotTrusted => ErrorCode::Forbidden.into(),
            Self::Missing | Self::Malformed | Self::Mismatch => ErrorCode::BadRequest.into(),
        };
        coded(self.to_string(), code)
    }
}

/// `extensions.persistedQuery`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    version: u32,
    sha256_hash: String,
}

impl Persisted {
    /// Trusted documents, where the settings have them; else room for as many as they say, or none where that is 0.
    pub(crate) fn new(settings: &TransportSettings) -> Self {
        let bytes = settings.persisted_bytes;
        match (
            &settings.trusted,
            NonZeroUsize::new(settings.persisted_entries),
        ) {
            (Some(trusted), _) => Self::Trusted(Arc::clone(trusted)),
            (None, entries @ Some(_)) if bytes > 0 => Self::Any(Recent::new(entries, bytes)),
            _ => Self::Unnamed,
        }
    }

    /// Returns the request with its document. Fails where the document is missing, unknown or not trusted.
    pub(crate) fn find(&self, mut parameters: Parameters) -> Result<Request, NoDocument> {
        let query = parameters.query.take();
        let hash = named(parameters.extensions.as_ref())?;
        let text = match (query, hash, self) {
            (_, Some(_), Self::Unnamed) => return Err(NoDocument::NotSupported),
            (None, None, _) => return Err(NoDocument::Missing),
            (None, Some(hash), Self::Any(kept)) => kept.get(&hash).map(|text| text.to_string()),
            (None, Some(hash), Self::Trusted(trusted)) => trusted.get(&hash).map(str::to_owned),
            (Some(query), hash, _) => {
                if hash.is_some_and(|hash| hash != hash_of(&query)) {
                    return Err(NoDocument::Mismatch);
                }
                if let Self::Trusted(trusted) = self {
                    let known = trusted.get(&hash_of(&query));
                    known.ok_or(NoDocument::NotTrusted)?;
                }
                Some(query)
            }
        };
        Ok(parameters.into_request(text.ok_or(NoDocument::NotFound)?))
    }

    /// Keeps the document of a request from [`Self::find`] that came with its hash, if it may be kept. Call it only for a
    /// document within the limits: others would let a client fill the cache.
    pub(crate) fn keep(&self, request: &Request, document: &ExecutableDocument) {
        let Self::Any(kept) = self else {
            return;
        };
        // [`Self::find`] compared the hash with the text.
        let Ok(Some(hash)) = named(Some(&request.extensions.0)) else {
            return;
        };
        let text = request.query.as_str();
        if may_be_kept(text, document) && kept.get(&hash).is_none() {
            kept.keep(hash, text.len(), text.into());
        }
    }
}

/// Returns the hash in the extension; `None` without the extension.
fn named(extensions: Option<&HashMap<String, Value>>) -> Result<Option<Hash>, NoDocument> {
    let value = extensions.and_then(|extensions| extensions.get("persistedQuery"));
    let Some(value) = value.filter(|value| **value != Value::Null) else {
        return Ok(None);
    };
    let Object(query): Object<PersistedQuery> =
        async_graphql::from_value(value.clone()).map_err(|_| NoDocument::Malformed)?;
    let hash = parse_hash(&query.sha256_hash).filter(|_| query.version == 1);
    hash.map(Some).ok_or(NoDocument::Malformed)
}

/// Parses a hash: 64 hexadecimal digits.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// Returns the hash of a document.
pub(crate) fn hash_of(document: &str) -> Hash {
    Sha256::digest(document.as_bytes()).into()
}
