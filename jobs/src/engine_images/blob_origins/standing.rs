//! Decides how a blob has to be proved before it may be left to the engine.

use std::collections::{HashMap, HashSet};

use sea_orm::FromQueryResult;

/// A layer or config of an image that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) digest: String,
    /// Compressed bytes, by the manifest.
    pub(crate) size: u64,
    /// None for the config.
    pub(crate) media_type: Option<String>,
    /// The layer's digest uncompressed, where the engine has the image.
    pub(crate) diff_id: Option<String>,
    /// Whether the engine has it, or may have it unseen.
    pub(crate) may_be_there: bool,
}

/// How a blob has to be proved before it may be left to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// Nothing: its bytes once came without a login.
    Free,
    /// It came from the repository that the caller named: that registry has to give it to the caller.
    Ask,
    /// The registry that the caller named has to deliver it whole.
    Fetch,
    /// The engine has to fetch it. If the engine says that it has it already, as with [`Standing::Fetch`].
    Watch,
}

/// A row of a blob, or several equal ones.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "columns of a row, each of which counts by itself"
)]
pub(crate) struct Known {
    pub(crate) digest: String,
    pub(crate) diff_id: Option<String>,
    pub(crate) delivered: bool,
    pub(crate) anonymous: bool,
    /// It is of the host of the pull.
    pub(crate) here: bool,
    /// It is of the very repository that the caller named.
    pub(crate) own: bool,
}

/// The known origins of the blobs of an image.
pub(crate) struct Origins {
    /// The engine says that it has the image from the very repository that the caller named, and had it before Wharfinger.
    engine_had_it_from_here: bool,
    known: HashMap<String, Vec<Known>>,
}

impl Origins {
    pub(crate) fn new(engine_had_it_from_here: bool, found: Vec<Known>) -> Self {
        let mut known: HashMap<String, Vec<_>> = HashMap::new();
        for one in found {
            known.entry(one.digest.clone()).or_default().push(one);
        }
        Self {
            engine_had_it_from_here,
            known,
        }
    }

    pub(crate) fn standing(&self, part: &Part) -> Standing {
        let known = self.of(&part.digest);
        let delivered = || {
            let is_it = |one: &&Known| {
                one.delivered && (part.diff_id.is_none() || one.diff_id == part.diff_id)
            };
            known.iter().filter(is_it)
        };
        if delivered().any(|one| one.anonymous) {
            return Standing::Free;
        }
        let from_elsewhere = known.iter().any(|one| one.here && !one.own);
        // Another repository of a registry counts as another registry: one that stands in for others gives what they have.
        let came_from_here = delivered().any(|one| one.own);
        // A pull of ours gives an image a name of the engine, whatever it fetched: names tell of what was there before.
        let was_before_us = !known.iter().any(|one| one.here);
        if came_from_here || self.engine_had_it_from_here && was_before_us {
            Standing::Ask
        } else if part.may_be_there || from_elsewhere {
            Standing::Fetch
        } else {
            Standing::Watch
        }
    }

    /// The digests uncompressed that deliveries of a layer had.
    pub(crate) fn diff_ids(&self, digest: &str) -> HashSet<String> {
        let known = self.of(digest).iter().filter(|one| one.delivered);
        known.filter_map(|one| one.diff_id.clone()).collect()
    }

    fn of(&self, digest: &str) -> &[Known] {
        self.known.get(digest).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(registry: &str, delivered: bool, anonymous: bool) -> Known {
        Known {
            digest: "sha256:1".to_owned(),
            diff_id: delivered.then(|| "sha256:d".to_owned()),
            delivered,
            anonymous,
            here: true,
            own: registry == "named",
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

    fn standing(rows: Vec<Known>, had: bool, there: bool) -> Standing {
        Origins::new(had, rows).standing(&part(there))
    }

    #[test]
    fn an_unknown_blob_is_left_to_the_engine_unless_it_has_the_image() {
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
        let origins = Origins::new(false, vec![row("named", true, true)]);
        let other = Part {
            diff_id: Some("sha256:e".to_owned()),
            ..part(true)
        };
        assert_eq!(origins.standing(&other), Standing::Fetch);
        assert_eq!(
            origins.diff_ids("sha256:1"),
            HashSet::from(["sha256:d".to_owned()])
        );
    }

    #[test]
    fn another_host_tells_what_is_public_and_nothing_of_what_is_here() {
        let elsewhere = |row| Known { here: false, ..row };
        let public = elsewhere(row("other", true, true));
        assert_eq!(standing(vec![public], false, true), Standing::Free);
        let private = elsewhere(row("other", true, false));
        assert_eq!(standing(vec![private], false, false), Standing::Watch);
    }
}
