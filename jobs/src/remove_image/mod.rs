//! `removeImage`: the same life as a pull with another middle.

mod accept;
mod job;
mod run;
mod settle;

pub(crate) use self::job::RemoveImageJob;
pub(crate) use accept::removal;
pub use accept::{RemoveImage, accept};
