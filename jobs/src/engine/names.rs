//! Names of images as the engine's API takes and gives them.

/// What to pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullName {
    /// Without tag and digest: `docker.io/library/redis`.
    pub(super) name: String,
    /// A tag, or a digest, which wins.
    pub(super) reference: String,
}

impl PullName {
    /// The repository's full name with a tag, a digest, or both; `latest` with neither.
    pub fn new(name: &str, tag: Option<&str>, digest: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            reference: digest.or(tag).unwrap_or("latest").to_owned(),
        }
    }
}

/// Whether the engine's name of an image (`redis:7`) is the same as a fully qualified one (`docker.io/library/redis:7`).
pub fn same_reference(engine_name: &str, fully_qualified: &str) -> bool {
    engine_name == fully_qualified || engine_name == short(fully_qualified)
}

fn short(fully_qualified: &str) -> &str {
    match fully_qualified.strip_prefix("docker.io/") {
        Some(path) => path.strip_prefix("library/").unwrap_or(path),
        None => fully_qualified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_full_names_are_the_same_image() {
        assert!(same_reference("redis:7", "docker.io/library/redis:7"));
        assert!(same_reference("a/b:7", "docker.io/a/b:7"));
        assert!(same_reference("127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1"));
        assert!(!same_reference("redis:7", "docker.io/library/redis:8"));
        assert!(!same_reference("redis:7", "ghcr.io/library/redis:7"));
        assert!(!same_reference(
            "library/redis:7",
            "docker.io/library/redis:7"
        ));
    }
}
