//! What a host's engine has, and what Wharfinger may take off it.

use std::collections::{BTreeMap, BTreeSet};

use wharfinger_entity::ImageState;

use super::Model;

/// A host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Host {
    /// Nobody takes its jobs.
    pub(crate) paused: bool,
    /// It takes no new jobs.
    pub(crate) drained: bool,
    /// Its images, and whether Wharfinger brought them.
    pub(crate) images: BTreeMap<usize, bool>,
    /// The image that each name means.
    pub(crate) names: BTreeMap<Name, usize>,
    /// The tags that Wharfinger set, with the images that it set them on.
    pub(crate) ours: BTreeSet<(usize, usize)>,
    /// What a tag meant before pulls that are not settled set it on an image, by tag and image.
    pub(crate) displaced: BTreeMap<(usize, usize), Option<usize>>,
    /// Images that a container uses.
    pub(crate) used: BTreeSet<usize>,
    /// Images that Wharfinger asked for and that did not come: nobody can tell whose one is that comes later.
    pub(crate) expected: BTreeSet<usize>,
    /// Images that came to nothing unnoticed: whether their tags are still known is not to be seen.
    pub(crate) unsure: BTreeSet<usize>,
}

/// A name on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// Of a tag of the registry.
    Tag(usize),
    /// The operator's own, for an image.
    Operators(usize),
}

/// What became of an image that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Gone,
    /// Somebody outside named it: it is theirs.
    Foreign,
    InUse,
}

impl Host {
    fn names_of(&self, image: usize) -> Vec<Name> {
        let names = self.names.iter().filter(|(_, of)| **of == image);
        names.map(|(name, _)| *name).collect()
    }

    /// The images that pulls which are not settled set a tag on.
    pub(super) fn displaced_on(&self, tag: usize) -> Vec<usize> {
        let of_tag = self.displaced.keys().filter(|(of, _)| *of == tag);
        of_tag.map(|(_, image)| *image).collect()
    }

    /// The tags that pulls which are not settled set on an image, with what they meant before.
    pub(super) fn displaced_from(&self, image: usize) -> Vec<(usize, Option<usize>)> {
        let of_image = self.displaced.iter().filter(|((_, on), _)| *on == image);
        of_image.map(|((tag, _), before)| (*tag, *before)).collect()
    }

    fn is_ours(&self, name: Name, image: usize) -> bool {
        matches!(name, Name::Tag(tag) if self.ours.contains(&(tag, image)))
    }

    /// `docker pull` by the engine's operator.
    pub(crate) fn operator_pulls(&mut self, tag: usize, image: usize) {
        self.images.entry(image).or_insert(false);
        self.names.insert(Name::Tag(tag), image);
    }

    /// `docker tag` by the operator, with a name of their own.
    pub(crate) fn operator_tags(&mut self, image: usize) {
        self.names.insert(Name::Operators(image), image);
    }

    /// `docker create` or `docker rm`.
    pub(crate) fn use_image(&mut self, image: usize, used: bool) {
        if used {
            self.used.insert(image);
        } else {
            self.used.remove(&image);
        }
    }

    /// Takes off an image that Wharfinger brought and nobody holds.
    pub(super) fn take_off(&mut self, image: usize) -> Fate {
        if self.used.contains(&image) {
            return Fate::InUse;
        }
        let names = self.names_of(image);
        if names.iter().all(|name| self.is_ours(*name, image)) {
            self.forget(image);
            return Fate::Gone;
        }
        for name in names {
            if self.is_ours(name, image) {
                self.names.remove(&name);
            }
        }
        self.images.insert(image, false);
        Fate::Foreign
    }

    /// Takes a tag off an image that stays, unless it is its last name, with which the engine would delete the image.
    pub(super) fn take_tag(&mut self, tag: usize, image: usize) {
        let name = Name::Tag(tag);
        let several = self.names_of(image).len() > 1;
        if self.is_ours(name, image) && self.names.get(&name) == Some(&image) && several {
            self.names.remove(&name);
        }
    }

    /// The image is gone with its names.
    fn forget(&mut self, image: usize) {
        self.vanish(image);
        self.ours.retain(|(_, of)| *of != image);
        self.displaced.retain(|(_, of), _| *of != image);
        self.expected.remove(&image);
    }

    fn vanish(&mut self, image: usize) {
        self.images.remove(&image);
        self.names.retain(|_, of| *of != image);
        self.used.remove(&image);
    }
}

impl Model {
    /// The engine lost an image; the reconciler refunds whoever held it.
    pub(crate) fn lose(&mut self, host: usize, image: usize) {
        if !self.hosts[host].images.contains_key(&image) {
            return;
        }
        let holders: Vec<usize> = self
            .holders(host, image)
            .map(|(number, _)| number)
            .collect();
        for number in &holders {
            self.end_holding(*number, ImageState::Lost);
        }
        if holders.is_empty() {
            self.hosts[host].vanish(image);
            self.hosts[host].unsure.insert(image);
        } else if self.is_meant(host, image, None) {
            self.hosts[host].vanish(image);
            self.hosts[host].expected.insert(image);
        } else {
            self.hosts[host].forget(image);
        }
    }

    /// The reconciler looks at a whole host.
    pub(crate) fn reconcile(&mut self, host: usize) {
        let images: Vec<usize> = self.hosts[host].images.keys().copied().collect();
        for image in images {
            self.tidy(host, image);
        }
        let expected = self.hosts[host].expected.clone();
        self.hosts[host].unsure.extend(expected);
    }

    /// The tags that an image has in vain go back, and the image, if Wharfinger brought it and nobody holds or means it,
    /// leaves the engine.
    pub(crate) fn tidy(&mut self, host: usize, image: usize) {
        if self.hosts[host].images.contains_key(&image) {
            self.put_back(host, image);
        }
        let brought = self.hosts[host].images.get(&image) == Some(&true);
        let wanted = self.holders(host, image).next().is_some() || self.is_meant(host, image, None);
        if brought && !wanted {
            self.hosts[host].take_off(image);
        }
    }
}
