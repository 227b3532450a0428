//! Names of images as the engine's API takes and gives them.

use super::EngineError;

/// The name to pull: a repository with a tag or a digest. Without either, an engine would pull every tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullName {
    pub(super) repository: String,
    pub(super) tag_or_digest: String,
}

impl PullName {
    /// A repository's fully qualified name with a tag, a digest, or both, of which the digest counts; `latest` with
    /// neither.
    pub fn new(repository: &str, tag: Option<&str>, digest: Option<&str>) -> Self {
        let given = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(str::to_owned);
        let tag_or_digest = given(digest).or_else(|| given(tag));
        Self {
            repository: repository.to_owned(),
            tag_or_digest: tag_or_digest.unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

/// Whether the engine's familiar name of an image (`redis:7`) and a fully qualified one (`docker.io/library/redis:7`)
/// are the same.
pub fn same_reference(engine_name: &str, fully_qualified: &str) -> bool {
    familiar(engine_name) == familiar(fully_qualified)
}

/// As the engine writes it: without Docker Hub's name and its `library`. The rule is that of distribution/reference,
/// `familiarizeName`.
fn familiar(name: &str) -> &str {
    let Some(path) = name
        .strip_prefix("docker.io/")
        .or_else(|| name.strip_prefix("index.docker.io/"))
    else {
        return name;
    };
    match path.strip_prefix("library/") {
        // A repository of Docker Hub below `library/…/` keeps it: without, its first part would be a user.
        Some(repository) if !repository.contains('/') => repository,
        _ => path,
    }
}

/// Refuses what would mean another path of the API than that of an image.
pub(super) fn check(id_or_reference: &str) -> Result<(), EngineError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+/:@".contains(c);
    let segment = |part: &str| !matches!(part, "" | "." | "..");
    if id_or_reference.chars().all(allowed) && id_or_reference.split('/').all(segment) {
        Ok(())
    } else {
        Err(not_a("name or id", id_or_reference))
    }
}

/// Refuses what is not an image's whole id: the engine would take it for a name.
pub(super) fn check_id(image_id: &str) -> Result<(), EngineError> {
    let is_id = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    match image_id.strip_prefix("sha256:") {
        Some(hex) if is_id(hex) => Ok(()),
        _ => Err(not_a("whole id", image_id)),
    }
}

/// Refuses what has neither tag nor digest: the engine might take it for the beginning of an id.
pub(super) fn check_tagged(reference: &str) -> Result<(), EngineError> {
    check(reference)?;
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) && !reference.starts_with("sha256:") {
        Ok(())
    } else {
        Err(not_a("name with a tag or digest", reference))
    }
}

fn not_a(what: &str, given: &str) -> EngineError {
    EngineError::other(format!("not an image's {what}: {given:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiar_and_full_names_are_the_same() {
        let same = [
            ("redis:7", "docker.io/library/redis:7"),
            ("docker.io/library/redis:7", "docker.io/library/redis:7"),
            ("a/b:7", "docker.io/a/b:7"),
            ("127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1"),
            ("redis@sha256:ab", "docker.io/library/redis@sha256:ab"),
            ("library/a/b:1", "docker.io/library/a/b:1"),
        ];
        for (engine, full) in same {
            assert!(same_reference(engine, full), "{engine} {full}");
        }
        let different = [
            ("redis:7", "docker.io/library/redis:8"),
            ("redis:7", "ghcr.io/library/redis:7"),
            ("redis:7", "docker.io/redis/redis:7"),
            ("a/b:1", "docker.io/library/a/b:1"),
        ];
        for (engine, full) in different {
            assert!(!same_reference(engine, full), "{engine} {full}");
        }
    }

    #[test]
    fn a_pull_always_has_a_tag_or_digest() {
        let named = |tag, digest| PullName::new("r", tag, digest).tag_or_digest;
        assert_eq!(named(None, None), "latest");
        assert_eq!(named(Some(""), None), "latest");
        assert_eq!(named(Some("1"), None), "1");
        assert_eq!(named(Some("1"), Some("sha256:ab")), "sha256:ab");
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let id = format!("sha256:{}", "a".repeat(64));
        for good in [id.as_str(), "redis", "127.0.0.1:5000/a/b:1", "a@sha256:ab"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/../../info",
            "/a",
            "a//b",
            "a?force=1",
            "a#b",
            "a b",
            "a%2e",
            ".",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check_id(&id).is_ok());
        for bad in ["redis:7", "sha256:", "sha256:zz", &id[..40]] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
        assert!(check_tagged("127.0.0.1:5000/a:1").is_ok());
        for bad in ["127.0.0.1:5000/a", "deadbeef", &id] {
            assert!(check_tagged(bad).is_err(), "{bad}");
        }
    }
}
