//! What the engine keeps, by the rules of moby's classic image store (`daemon/images/image_delete.go`, 20.10).

use std::collections::{BTreeMap, BTreeSet};

use super::super::Image;
use super::PullFault;

/// Images, names and containers.
#[derive(Default)]
pub(super) struct Store {
    images: BTreeMap<String, Image>,
    /// Image ids by `name:tag` and `name@digest`.
    names: BTreeMap<String, String>,
    /// Image ids that a stopped container uses.
    pub(super) containers: BTreeSet<String>,
    pub(super) pull_faults: Vec<PullFault>,
    pub(super) pulls: usize,
    /// Images whose pulls fail.
    pub(super) refused: BTreeSet<String>,
    /// An image that is to be hidden when it is tagged.
    pub(super) hides: Option<String>,
    /// An image that is not shown the next time.
    pub(super) hidden: Option<String>,
    pub(super) delete_faults: usize,
}

/// Why an image was not removed.
pub(super) enum Refused {
    NoSuchImage,
    Conflict(String),
    Broken,
}

impl Store {
    /// The image that an id or a name means.
    pub(super) fn find(&self, name: &str) -> Option<&Image> {
        let id = self.names.get(name).map_or(name, String::as_str);
        self.images.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    /// The names of an image: tags, then digests.
    pub(super) fn names_of(&self, id: &str) -> (Vec<String>, Vec<String>) {
        let names = self.names.iter().filter(|(_, of)| *of == id);
        names
            .map(|(name, _)| name.clone())
            .partition(|name| !name.contains('@'))
    }

    pub(super) fn bring(&mut self, image: &Image) {
        self.images.insert(image.id.clone(), image.clone());
    }

    /// Gives an image a name and takes it from whichever had it. False if there is no such image.
    pub(super) fn tag(&mut self, id: &str, name: &str) -> bool {
        let there = self.images.contains_key(id);
        if there {
            self.names.insert(name.to_owned(), id.to_owned());
        }
        there
    }

    /// The image is gone with all its names, whatever uses it.
    pub(super) fn forget(&mut self, id: &str) {
        self.images.remove(id);
        self.names.retain(|_, of| of != id);
        self.containers.remove(id);
    }

    /// Removes a name, or an image by its id, without force. Returns the ids that were deleted.
    pub(super) fn remove(&mut self, name: &str) -> Result<Vec<String>, Refused> {
        let id = self.find(name).ok_or(Refused::NoSuchImage)?.id.clone();
        let used = self.containers.contains(&id);
        let (tags, digests) = self.names_of(&id);
        let in_use = || {
            let short = &id[7..19];
            Refused::Conflict(format!(
                "conflict: unable to delete {short} (must be forced) - image is being used by stopped container c0ffee"
            ))
        };
        if name == id {
            if self.delete_faults > 0 {
                self.delete_faults -= 1;
                return Err(Refused::Broken);
            }
            let several = !tags.is_empty() || !digests.is_empty();
            if several && !is_single(&tags, &digests) {
                return Err(Refused::Conflict(format!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                    &id[7..19]
                )));
            }
            if used {
                return Err(in_use());
            }
        } else {
            if used && is_single(&tags, &digests) {
                return Err(Refused::Conflict(format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - container c0ffee is using its referenced image {}",
                    &id[7..19]
                )));
            }
            self.names.remove(name);
            let last_tag = !name.contains('@')
                && !tags
                    .iter()
                    .any(|tag| tag != name && repository(tag) == repository(name));
            if last_tag {
                self.names.retain(|other, of| {
                    *of != id || !other.contains('@') || repository(other) != repository(name)
                });
            }
            if self.names.values().any(|of| *of == id) {
                return Ok(Vec::new());
            }
            if used {
                return Err(in_use());
            }
        }
        self.forget(&id);
        Ok(vec![id])
    }

    pub(super) fn summary(&self) -> (BTreeSet<String>, BTreeMap<String, String>) {
        let tags = self.names.iter().filter(|(name, _)| !name.contains('@'));
        let tags = tags.map(|(name, id)| (name.clone(), id.clone()));
        (self.images.keys().cloned().collect(), tags.collect())
    }
}

/// moby's `isSingleReference`: at most one tag, and everything in one repository.
fn is_single(tags: &[String], digests: &[String]) -> bool {
    let mut repositories: Vec<&str> = tags.iter().chain(digests).map(|n| repository(n)).collect();
    repositories.sort_unstable();
    repositories.dedup();
    tags.len() <= 1 && repositories.len() == 1
}

fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}
