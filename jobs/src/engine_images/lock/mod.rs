//! The row of a (host, image id): what the engine had before Wharfinger, and which process may change the engine's image.
//!
//! A removal or a reconciliation takes the row's lock, changes the engine ([`Changes`]), then commits. A settle takes no lock: it
//! remembers the row's version, looks at the engine, and commits only if the row is unlocked and the version the same.
//! So a settle never confirms an image that is being deleted, and nothing waits on an engine inside a transaction.

mod changes;
mod hold;
pub(crate) mod observation;
pub(crate) mod row;

pub(crate) use changes::{ChangeError, Changes};
pub(crate) use hold::{ImageLock, LockLost, free_locks_of, unlock, while_renewing};
pub(crate) use observation::{Observation, find, is_meant, locked_or_new, record};
pub(crate) use row::{
    Presence, Waited, fenced, lock, lock_unless, release, settled_version, try_lock, unlocked,
};
