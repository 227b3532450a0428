//! The limits on what requests may ask for, as clients and the database see them.

mod answers;
mod connections;
mod documents;
mod floods;
mod rate;
mod sockets;
mod time;
mod transport;
