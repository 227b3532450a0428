//! The list of trusted documents, in the formats that clients' tools write.

use std::collections::HashMap;

use serde::Deserialize;

use super::persisted::{Hash, hash_of, parse_hash};

/// Documents that may be executed, by their SHA-256.
#[derive(Debug)]
pub struct TrustedDocuments(HashMap<Hash, String>);

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It has neither format.
    #[error(
        "it is neither a JSON map of SHA-256 to document nor a manifest of the format apollo-persisted-query-manifest: {0}"
    )]
    Form(#[from] serde_json::Error),
    /// A key is not the SHA-256 of its document.
    #[error(
        "{0:?} is not the SHA-256 of its document: a client and this server would mean different ones"
    )]
    Hash(String),
    /// It has no documents.
    #[error("it has no document")]
    Empty,
}

/// The formats of a manifest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    /// `{"<sha256>": "query …"}`, as relay-compiler's `persistConfig` and GraphQL Code Generator write it.
    Map(HashMap<String, String>),
    /// `{"format": "apollo-persisted-query-manifest", "version": 1, "operations": […]}`.
    Apollo { operations: Vec<Operation> },
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

impl TrustedDocuments {
    /// Parses a manifest. Fails where a key is not the SHA-256 of its document, or there is no document.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let pairs: Vec<(String, String)> = match serde_json::from_str(text)? {
            Manifest::Map(map) => map.into_iter().collect(),
            Manifest::Apollo { operations } => operations
                .into_iter()
                .map(|operation| (operation.id, operation.body))
                .collect(),
        };
        let documents = pairs
            .into_iter()
            .map(|(key, document)| match parse_hash(&key) {
                Some(hash) if hash == hash_of(&document) => Ok((hash, document)),
                _ => Err(ManifestError::Hash(key)),
            })
            .collect::<Result<HashMap<_, _>, _>>()?;
        if documents.is_empty() {
            return Err(ManifestError::Empty);
        }
        Ok(Self(documents))
    }

    /// Returns the number of documents.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<&str> {
        self.0.get(hash).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `printf '{ hello }' | sha256sum`
    const HELLO: &str = "001c3174e099bd72b729d0c0a529ba9f5a740c446e2a6e1d71b283cb84ec3065";

    #[test]
    fn both_common_forms_are_read() {
        let key = hex::encode(hash_of("{ hello }"));
        let map = json!({&key: "{ hello }"});
        let apollo = json!({
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [{"id": key, "name": "Hello", "type": "query", "body": "{ hello }"}],
        });
        for manifest in [map, apollo] {
            let trusted = TrustedDocuments::parse(&manifest.to_string()).unwrap();
            assert_eq!(trusted.count(), 1);
            assert_eq!(trusted.get(&hash_of("{ hello }")), Some("{ hello }"));
            assert_eq!(trusted.get(&hash_of("{ other }")), None);
        }
    }

    #[test]
    fn a_manifest_that_would_mean_something_else_is_refused() {
        for (text, why) in [
            (r#"{"md5": "{ hello }"}"#, "is not the SHA-256"),
            (
                &format!(r#"{{"{HELLO}": "{{ other }}"}}"#),
                "is not the SHA-256",
            ),
            ("{}", "no document"),
            (r#"["{ hello }"]"#, "neither"),
            ("nonsense", "neither"),
        ] {
            let error = TrustedDocuments::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
