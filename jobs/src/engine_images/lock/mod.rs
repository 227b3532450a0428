//! The (host, image id) row: what the engine had before Wharfinger, and who may change the engine's image at this moment.
//!
//! A removal or a reconciliation takes the row's lock, changes the engine ([`Changes`]), then commits. A settle takes no lock: it
//! remembers the row's version, looks at the engine, and commits only if the row is unlocked and the version the same.
//! So a settle never confirms an image that is being deleted, and nothing waits on an engine inside a transaction.

mod changes;
mod hold;
pub(crate) mod observation;
pub(crate) mod row;

pub(crate) use changes::{ChangeError, Changes};
pub(crate) use hold::{Custody, LockLost, free_locks_of, keeping, unlock};
pub(crate) use observation::{Observation, find, is_meant, locked_or_new, record};
pub(crate) use row::{
    Fate, Waited, conclude, fenced, lock, lock_unless, settled_version, try_lock, unlocked,
};
