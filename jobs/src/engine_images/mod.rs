//! Images on a host's engine: who may change one, what the engine had before, and how both sides are made to agree.

pub(crate) mod blob_origins;
pub(crate) mod error;
pub(crate) mod in_use;
pub(crate) mod lock;
pub(crate) mod reconcile;
pub(crate) mod removal;
pub(crate) mod tag_rollback;
