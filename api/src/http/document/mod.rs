//! From the text of a request to a document: its length, its hash, and whether it may be executed.

pub(crate) mod cache;
pub(crate) mod lexer;
pub(crate) mod persisted;
pub(crate) mod reject_nul;
pub(crate) mod selected;
pub(crate) mod trusted;
