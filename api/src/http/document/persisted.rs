//! Documents that are named by their SHA-256: automatic persisted queries, and the list of trusted documents.
//!
//! The protocol is Apollo's (<https://www.apollographql.com/docs/apollo-server/performance/apq>). A client sends only the
//! hash, in `extensions.persistedQuery`. Where this process does not know it, the client sends the hash with the document,
//! which is kept for the next time if it is GraphQL, within the limits, short, and without a mutation, whose text can
//! contain a password. The number and bytes of kept documents are bounded, and the least recently used goes first.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{ErrorExtensionValues, Request, ServerError, Value};
use lru::LruCache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::cache::may_be_kept;
use super::trusted::TrustedDocuments;
use crate::http::request::json_object::Object;
use crate::http::request::parameters::Parameters;
use crate::http::response::error::ErrorCode;

/// SHA-256 of a document's text.
pub(crate) type Hash = [u8; 32];

/// The source of documents that are named by their hash.
pub(crate) enum Persisted {
    /// Only these documents are executed.
    Trusted(Arc<TrustedDocuments>),
    /// Any document is executed, and those that clients name are kept.
    Any(Mutex<Kept>),
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
            Self::NotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::NotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            Self::NotTrusted => ErrorCode::Forbidden.as_str(),
            Self::Missing | Self::Malformed | Self::Mismatch => ErrorCode::BadRequest.as_str(),
        };
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", code);
        ServerError {
            extensions: Some(extensions),
            ..ServerError::new(self.to_string(), None)
        }
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
    /// Trusted documents, where they are given; else room for `entries` documents of `bytes` together, or none where either
    /// is 0.
    pub(crate) fn new(
        trusted: Option<Arc<TrustedDocuments>>,
        entries: usize,
        bytes: usize,
    ) -> Self {
        match (trusted, NonZeroUsize::new(entries)) {
            (Some(trusted), _) => Self::Trusted(trusted),
            (None, Some(entries)) if bytes > 0 => Self::Any(Mutex::new(Kept::new(entries, bytes))),
            _ => Self::Unnamed,
        }
    }

    /// Returns the request with its document. Fails where the document is missing, unknown or not trusted.
    pub(crate) fn find(&self, mut parameters: Parameters) -> Result<Request, NoDocument> {
        let query = parameters.query.take();
        let named = named(parameters.extensions.as_ref())?;
        match (self, query, named) {
            (Self::Unnamed, _, Some(_)) => Err(NoDocument::NotSupported),
            (Self::Any(_) | Self::Unnamed, Some(query), None) => Ok(parameters.into_request(query)),
            (_, None, None) => Err(NoDocument::Missing),
            (Self::Any(kept), None, Some(hash)) => {
                let found = lock(kept).get(&hash).ok_or(NoDocument::NotFound)?;
                Ok(parameters.into_request(found.to_string()))
            }
            (Self::Any(_), Some(query), Some(hash)) => {
                is_hash_of(&query, &hash)?;
                Ok(parameters.into_request(query))
            }
            (Self::Trusted(trusted), None, Some(hash)) => {
                let found = trusted.get(&hash).ok_or(NoDocument::NotFound)?;
                Ok(parameters.into_request(found.to_owned()))
            }
            (Self::Trusted(trusted), Some(query), named) => {
                if let Some(hash) = named {
                    is_hash_of(&query, &hash)?;
                }
                let known = trusted.get(&hash_of(&query)).is_some();
                known
                    .then(|| parameters.into_request(query))
                    .ok_or(NoDocument::NotTrusted)
            }
        }
    }
}

impl Persisted {
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
        if may_be_kept(&request.query, document) {
            lock(kept).put_new(hash, &request.query);
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the hash in the extension; `None` without the extension.
fn named(extensions: Option<&HashMap<String, Value>>) -> Result<Option<Hash>, NoDocument> {
    let Some(value) = extensions.and_then(|extensions| extensions.get("persistedQuery")) else {
        return Ok(None);
    };
    if *value == Value::Null {
        return Ok(None);
    }
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

fn is_hash_of(document: &str, hash: &Hash) -> Result<(), NoDocument> {
    let matches = hash_of(document) == *hash;
    matches.then_some(()).ok_or(NoDocument::Mismatch)
}

/// The documents that clients have named.
pub(crate) struct Kept {
    documents: LruCache<Hash, Arc<str>>,
    bytes: usize,
    most_bytes: usize,
}

impl Kept {
    fn new(entries: NonZeroUsize, most_bytes: usize) -> Self {
        Self {
            documents: LruCache::new(entries),
            bytes: 0,
            most_bytes,
        }
    }

    fn get(&mut self, hash: &Hash) -> Option<Arc<str>> {
        self.documents.get(hash).cloned()
    }

    /// Keeps a document that is not kept yet.
    fn put_new(&mut self, hash: Hash, document: &str) {
        if self.get(&hash).is_none() {
            self.put(hash, document.into());
        }
    }

    fn put(&mut self, hash: Hash, document: Arc<str>) {
        if document.len() > self.most_bytes {
            return;
        }
        self.bytes += document.len();
        // An entry makes room: the same document, or the least recently used one.
        if let Some((_, gone)) = self.documents.push(hash, document) {
            self.bytes -= gone.len();
        }
        while self.bytes > self.most_bytes {
            let (_, gone) = self.documents.pop_lru().expect("bytes are of documents");
            self.bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(entries: usize, bytes: usize) -> Kept {
        Kept::new(NonZeroUsize::new(entries).unwrap(), bytes)
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let mut kept = kept(3, 10);
        for number in 0..100_u8 {
            kept.put([number; 32], "1234".into());
            assert!(kept.bytes <= 10);
        }
        assert_eq!((kept.documents.len(), kept.bytes), (2, 8));
        for number in 0..100_u8 {
            kept.put([number; 32], "1".into());
        }
        assert_eq!((kept.documents.len(), kept.bytes), (3, 3));
        kept.put([99; 32], "12345678901".into());
        assert_eq!(kept.documents.len(), 3, "too long to be kept");
    }

    #[test]
    fn the_least_recently_used_goes_first_and_a_second_copy_takes_no_room() {
        let mut kept = kept(2, 100);
        kept.put([1; 32], "one".into());
        kept.put([2; 32], "two".into());
        kept.put([1; 32], "one".into());
        assert_eq!(kept.bytes, 6);
        kept.put([3; 32], "three".into());
        assert_eq!(kept.get(&[1; 32]).as_deref(), Some("one"));
        assert_eq!(kept.get(&[2; 32]), None);
        assert_eq!(kept.bytes, 8);
    }
}
