//! What has to be done before a blob may be left to the engine.

use std::collections::HashMap;

use uuid::Uuid;
use wharfinger_entity::blob_origin;

/// A layer or config of an image that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) digest: String,
    /// Compressed bytes, by the manifest.
    pub(crate) size: u64,
    /// None for the config.
    pub(crate) media_type: Option<String>,
    /// Where the engine has the image: what the layer is there, uncompressed.
    pub(crate) diff_id: Option<String>,
    /// Whether the engine has it, or nothing that the engine says would tell.
    pub(crate) may_be_there: bool,
}

/// What has to be done before a blob may be left to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// Nothing: its bytes came without a login once.
    Free,
    /// The registry that the caller named is the one that it came from: it has to give it to the caller.
    Ask,
    /// The registry that the caller named has to deliver it whole.
    Fetch,
    /// The engine has to fetch it. If the engine says that it has it already, it is as with [`Standing::Fetch`].
    Watch,
}

/// What is known of the blobs of an image.
pub(crate) struct Origins {
    host_id: Uuid,
    /// The registry that the caller named.
    registry: String,
    /// The engine says that it has the image from the very repository that the caller named.
    engine_had_it_from_here: bool,
    rows: HashMap<String, Vec<blob_origin::Model>>,
}

impl Origins {
    pub(crate) fn new(
        host_id: Uuid,
        registry: &str,
        engine_had_it_from_here: bool,
        found: Vec<blob_origin::Model>,
    ) -> Self {
        let mut rows: HashMap<String, Vec<_>> = HashMap::new();
        for row in found {
            rows.entry(row.digest.clone()).or_default().push(row);
        }
        Self {
            host_id,
            registry: registry.to_owned(),
            engine_had_it_from_here,
            rows,
        }
    }

    pub(crate) fn standing(&self, part: &Part) -> Standing {
        let rows = self.of(&part.digest);
        let delivered = || {
            let is_it = |row: &&blob_origin::Model| {
                row.delivered && (part.diff_id.is_none() || row.diff_id == part.diff_id)
            };
            rows.iter().filter(is_it)
        };
        if delivered().any(|row| row.anonymous) {
            return Standing::Free;
        }
        let mut here = rows.iter().filter(|row| row.host_id == self.host_id);
        let from_elsewhere = here.clone().any(|row| row.registry != self.registry);
        let came_from_here = delivered().any(|row| row.registry == self.registry);
        // A pull of ours gives an image a name of the engine, whatever it fetched: names tell of what was there before.
        let was_before_us = here.next().is_none();
        if came_from_here || self.engine_had_it_from_here && was_before_us {
            Standing::Ask
        } else if part.may_be_there || from_elsewhere {
            Standing::Fetch
        } else {
            Standing::Watch
        }
    }

    /// What a layer is uncompressed, where it is known.
    pub(crate) fn diff_id(&self, digest: &str) -> Option<&str> {
        let rows = self.of(digest).iter();
        rows.filter(|row| row.delivered)
            .find_map(|row| row.diff_id.as_deref())
    }

    fn of(&self, digest: &str) -> &[blob_origin::Model] {
        self.rows.get(digest).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharfinger_entity::Timestamp;

    const HOST: Uuid = Uuid::from_u128(1);

    fn row(registry: &str, delivered: bool, anonymous: bool) -> blob_origin::Model {
        blob_origin::Model {
            id: Uuid::from_u128(9),
            host_id: HOST,
            digest: "sha256:1".to_owned(),
            registry: registry.to_owned(),
            repository: "r".to_owned(),
            delivered,
            anonymous,
            diff_id: delivered.then(|| "sha256:d".to_owned()),
            created_at: Timestamp::from_micros(0),
        }
    }

    fn part(may_be_there: bool) -> Part {
        Part {
            digest: "sha256:1".to_owned(),
            size: 1,
            media_type: Some("tar".to_owned()),
            diff_id: may_be_there.then(|| "sha256:d".to_owned()),
            may_be_there,
        }
    }

    fn standing(rows: Vec<blob_origin::Model>, had: bool, there: bool) -> Standing {
        Origins::new(HOST, "named", had, rows).standing(&part(there))
    }

    #[test]
    fn what_nobody_spoke_of_is_left_to_the_engine_unless_it_has_the_image() {
        assert_eq!(standing(vec![], false, false), Standing::Watch);
        assert_eq!(standing(vec![], false, true), Standing::Fetch);
        assert_eq!(standing(vec![], true, true), Standing::Ask);
    }

    #[test]
    fn the_word_of_another_registry_counts_for_nothing() {
        for there in [false, true] {
            for had in [false, true] {
                for delivered in [false, true] {
                    let rows = vec![row("other", delivered, false), row("named", false, false)];
                    assert_eq!(standing(rows, had, there), Standing::Fetch);
                }
            }
        }
    }

    #[test]
    fn what_came_without_a_login_is_free_and_what_was_only_announced_is_not() {
        assert_eq!(
            standing(vec![row("other", true, true)], false, true),
            Standing::Free
        );
        assert_eq!(
            standing(vec![row("other", false, true)], false, true),
            Standing::Fetch
        );
        assert_eq!(
            standing(vec![row("named", false, false)], false, false),
            Standing::Watch
        );
        assert_eq!(
            standing(vec![row("named", false, false)], true, true),
            Standing::Fetch
        );
    }

    #[test]
    fn the_registry_that_it_came_from_is_asked() {
        let rows = vec![row("other", true, false), row("named", true, false)];
        assert_eq!(standing(rows, false, true), Standing::Ask);
    }

    #[test]
    fn a_layer_under_the_config_of_another_image_is_not_the_layer_of_that_image() {
        let origins = Origins::new(HOST, "named", false, vec![row("named", true, true)]);
        let other = Part {
            diff_id: Some("sha256:e".to_owned()),
            ..part(true)
        };
        assert_eq!(origins.standing(&other), Standing::Fetch);
        assert_eq!(origins.diff_id("sha256:1"), Some("sha256:d"));
    }

    #[test]
    fn another_host_tells_what_is_public_and_nothing_of_what_is_here() {
        let elsewhere = |row| blob_origin::Model {
            host_id: Uuid::from_u128(2),
            ..row
        };
        let public = elsewhere(row("other", true, true));
        assert_eq!(standing(vec![public], false, true), Standing::Free);
        let private = elsewhere(row("other", true, false));
        assert_eq!(standing(vec![private], false, false), Standing::Watch);
    }
}
