//! `removeImage`: the same life as a pull with another middle.

mod accept;
pub(crate) mod run;
pub(crate) mod settle;

pub(crate) use accept::removal;
pub use accept::{RemoveImage, accept};
