//! Why a text is not an image reference.

use super::parse::{MAX_INPUT, MAX_REPOSITORY, MAX_TAG};
use crate::digest::DigestError;

/// Why a text is not an [`ImageReference`](super::ImageReference), and what would be.
/// The messages are for the person who typed it; what they quote is shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error(
        "the image reference is empty: write a name such as \"redis\" or \"ghcr.io/owner/name:tag\""
    )]
    Empty,
    /// Longer than any reference can reasonably be; it was not looked at.
    #[error("an image reference of {0} bytes is too long: at most {MAX_INPUT} bytes are read")]
    TooLong(usize),
    /// A blank, line break or control character, at this place, counted from one.
    #[error("character {0} of the image reference is a blank or a control character: leave it out")]
    Blank(usize),
    /// `https://…`: a reference is not a URL.
    #[error(
        "\"{scheme}://\" does not belong in an image reference: leave out the scheme, write \"{rest}\""
    )]
    Scheme {
        /// The part before `://`.
        scheme: String,
        /// The part after it.
        rest: String,
    },
    /// 64 hexadecimal digits alone, or `sha256:` and digits: an id, which could not be told from a name.
    #[error(
        "\"{0}\" is an image id, and ids cannot be pulled: write a name and tag, or a name, \"@sha256:\" and the digest"
    )]
    Identifier(String),
    /// The part before the first slash is meant as a registry and is no host.
    #[error(
        "registry \"{0}\" is not a valid host: use a name such as \"ghcr.io\", an IPv4 address, or an IPv6 address in brackets, then \":\" and a port number if need be"
    )]
    Registry(String),
    /// A registry, and nothing after it.
    #[error("\"{0}\" names a registry but no repository: write \"{0}/name\"")]
    NoRepository(String),
    /// Only a tag or a digest.
    #[error("\"{0}\" has no repository name: write one first, such as \"redis{0}\"")]
    NoName(String),
    /// Upper-case letters in the repository's name.
    #[error("repository name \"{name}\" has upper-case letters: did you mean \"{suggestion}\"?")]
    UpperCase {
        /// The name as given.
        name: String,
        /// The same in lower case.
        suggestion: String,
    },
    /// A repository's name with characters or separators that the grammar has not.
    #[error(
        "repository name \"{0}\" is not valid: between slashes, use lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\""
    )]
    Repository(String),
    /// A repository's name, with `library/` where Docker Hub has it, is longer than Docker allows.
    #[error(
        "repository name \"{name}\" has {length} characters: at most {MAX_REPOSITORY} are allowed"
    )]
    RepositoryTooLong {
        /// The name.
        name: String,
        /// How long it is.
        length: usize,
    },
    /// A colon and nothing after it.
    #[error("\"{0}:\" ends in a colon without a tag: write \"{0}:latest\", or leave the colon out")]
    EmptyTag(String),
    /// A tag with characters that the grammar has not.
    #[error(
        "tag \"{0}\" is not valid: use letters, digits, \"_\", \".\" and \"-\", and neither \".\" nor \"-\" first"
    )]
    Tag(String),
    /// A tag longer than Docker allows.
    #[error("tag \"{tag}\" has {length} characters: at most {MAX_TAG} are allowed")]
    TagTooLong {
        /// The tag.
        tag: String,
        /// How long it is.
        length: usize,
    },
    /// The part after the `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}
