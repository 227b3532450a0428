//! The part of a registry's answer that a request is made for.

/// The part of the answer that is needed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// A manifest, whole.
    Document,
    /// No more than whether it is there, and where.
    FirstByte,
    /// A layer or config, whose bytes are left to be read.
    Content,
}
