//! The gateway of Wharfinger, and the client that talks to it.

pub mod client;
