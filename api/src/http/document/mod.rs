//! From the text of a request to a document that may be executed.
//!
//! [`persisted`] finds a document by its hash, or admits only trusted ones, [`lexer`] bounds its length, [`cache`] parses
//! it once, and [`selected`] chooses its operation. [`reject_nul`] refuses texts that no database can store.

pub(crate) mod cache;
pub(crate) mod lexer;
pub(crate) mod persisted;
mod recent;
pub(crate) mod reject_nul;
pub(crate) mod selected;
pub(crate) mod trusted;
