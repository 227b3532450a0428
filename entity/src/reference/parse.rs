//! The parser: `ParseNormalizedNamed` and `TagNameOnly` of github.com/distribution/reference (`normalize.go`,
//! `regexp.go`), written without regular expressions so that each refusal can say what is wrong.

use super::{DOCKER_HUB, ImageReference, OFFICIAL, ReferenceError};
use crate::{digest::Digest, excerpt::excerpt};

/// Docker Hub's old name, which Docker still reads as `docker.io`.
const LEGACY_DOCKER_HUB: &str = "index.docker.io";
const DEFAULT_TAG: &str = "latest";
/// `RepositoryNameTotalLengthMax`: of the path, without the registry.
pub(super) const MAX_REPOSITORY: usize = 255;
pub(super) const MAX_TAG: usize = 128;
/// No host, path, tag and digest that registries take come near this; longer input is refused unread.
pub(super) const MAX_INPUT: usize = 4096;

pub(super) fn parse(text: &str) -> Result<ImageReference, ReferenceError> {
    refuse_what_is_no_reference(text)?;
    let (registry, rest) = split_registry(text);
    if rest.is_empty() || (rest == text && text.starts_with('[')) {
        return Err(ReferenceError::NoRepository(excerpt(
            text.trim_end_matches('/'),
        )));
    }
    check_registry(registry)?;

    // Neither a name nor a tag may contain "@", and a name no ":", so the first of each is where the next part starts.
    let (name_and_tag, digest) = match rest.split_once('@') {
        Some((before, digest)) => (before, Some(digest)),
        None => (rest, None),
    };
    let (name, tag) = match name_and_tag.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (name_and_tag, None),
    };
    if name.is_empty() {
        return Err(ReferenceError::NoName(excerpt(rest)));
    }
    let repository = check_repository(registry, name)?;
    if let Some(tag) = tag {
        check_tag(name, tag)?;
    }
    let digest = digest.map(Digest::parse).transpose()?;
    let tag = match tag {
        None if digest.is_none() => Some(DEFAULT_TAG),
        given => given,
    };

    let reference = ImageReference {
        registry: registry.to_owned(),
        repository,
        tag: tag.map(str::to_owned),
        digest,
    };
    if reference.registry == DOCKER_HUB && reference.repository == "library/sha256" {
        // The grammar allows it, but its short form is an image id: the engine refuses it as ambiguous
        // (moby/moby, reference/store.go, `addReference`).
        return Err(ReferenceError::Identifier(excerpt(text)));
    }
    Ok(reference)
}

/// Whether Docker takes the part before the first slash for a registry (`splitDockerDomain`).
pub(super) fn reads_as_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

fn refuse_what_is_no_reference(text: &str) -> Result<(), ReferenceError> {
    if text.len() > MAX_INPUT {
        return Err(ReferenceError::TooLong(text.len()));
    }
    if text.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if let Some(index) = text
        .chars()
        .position(|c| c.is_whitespace() || c.is_control())
    {
        return Err(ReferenceError::Blank(index + 1));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(ReferenceError::Scheme {
            scheme: excerpt(scheme),
            rest: excerpt(rest),
        });
    }
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ReferenceError::Identifier(excerpt(text)));
    }
    Ok(())
}

/// The registry, and the rest as it was written: without the `library/` that Docker Hub may need.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_DOCKER_HUB, rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if reads_as_registry(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    }
}

/// `domainAndPort` of the grammar. Docker reads a host such as `a_b.com` as a part of the path and then has no registry
/// to pull from; it is refused here instead.
fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let (host_is_valid, port) = match registry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, after)) => {
            let valid =
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            match after.strip_prefix(':') {
                Some(port) => (valid, Some(port)),
                None => (valid && after.is_empty(), None),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host.split('.').all(is_domain_component), Some(port)),
            None => (registry.split('.').all(is_domain_component), None),
        },
    };
    let port_is_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    if host_is_valid && port_is_valid {
        Ok(())
    } else {
        Err(ReferenceError::Registry(excerpt(registry)))
    }
}

fn is_domain_component(component: &str) -> bool {
    component
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
}

/// `remoteName` of the grammar; returns it with the `library/` of Docker Hub's official images.
fn check_repository(registry: &str, name: &str) -> Result<String, ReferenceError> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase {
            name: excerpt(name),
            suggestion: excerpt(&name.to_ascii_lowercase()),
        });
    }
    if !name.split('/').all(is_path_component) {
        return Err(ReferenceError::Repository(excerpt(name)));
    }
    let repository = if registry == DOCKER_HUB && !name.contains('/') {
        format!("{OFFICIAL}{name}")
    } else {
        name.to_owned()
    };
    if repository.len() > MAX_REPOSITORY {
        return Err(ReferenceError::RepositoryTooLong {
            length: repository.len(),
            name: excerpt(&repository),
        });
    }
    Ok(repository)
}

/// `pathComponent`: letters and digits, joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let atom = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(atom)
        && bytes.last().is_some_and(atom)
        && bytes
            .split(atom)
            .all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

fn check_tag(name: &str, tag: &str) -> Result<(), ReferenceError> {
    if tag.is_empty() {
        return Err(ReferenceError::EmptyTag(excerpt(name)));
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
        && tag.bytes().next().is_some_and(word);
    if !valid {
        return Err(ReferenceError::Tag(excerpt(tag)));
    }
    if tag.len() > MAX_TAG {
        return Err(ReferenceError::TagTooLong {
            tag: excerpt(tag),
            length: tag.len(),
        });
    }
    Ok(())
}
