//! The repositories that layers and configs on a host's engine came from, which decide who gets what is there already
//! (`api/docs/adr/0032-who-gets-what-is-there.md`).
//!
//! An engine knows blobs by their digest and does not ask a registry for one that it has. So before a pull each blob of its
//! image is looked up here: [`Standing`] says whether the caller may have it, whether the registry has to give it to the
//! caller first, or whether the engine will have to fetch it. [`rows`] stores what a repository has delivered and is to
//! deliver.

mod rows;
mod standing;

pub(crate) use rows::{announce, announced_since, deliver, find, forget_stale, is_contested};
pub(crate) use standing::{Known, Origins, Part, Standing};

/// A repository that a pull names, and whether it gives the image without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The registry's canonical name.
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) anonymous: bool,
}
