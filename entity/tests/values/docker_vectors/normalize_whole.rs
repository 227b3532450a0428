//! `normalize_test.go`: whole references, with tag and digest

use wharfinger_entity::ReferenceError;

use super::{parse, refuse};

/// `TestParseReferenceWithTagAndDigest`
#[test]
fn parse_reference_with_tag_and_digest() {
    let text =
        "busybox:latest@sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";
    let reference = parse(text);
    assert_eq!(reference.to_string(), format!("docker.io/library/{text}"));
    assert_eq!(reference.familiar(), text);
    assert!(reference.tag().is_some() && reference.digest().is_some());
}

/// `TestParseAnyReference` (names only: an id or a bare digest is no name) and `TestParseDockerRef` (but a tag beside a
/// digest is kept here)
#[test]
fn parse_any_reference_and_docker_ref() {
    let digest = "@sha256:dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c";
    let short_id = "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9";
    for (text, full) in [
        ("redis", "docker.io/library/redis:latest".into()),
        ("redis:latest", "docker.io/library/redis:latest".into()),
        (
            "docker.io/library/redis:latest",
            "docker.io/library/redis:latest".into(),
        ),
        (
            &format!("redis{digest}"),
            format!("docker.io/library/redis{digest}"),
        ),
        (
            &format!("docker.io/library/redis{digest}"),
            format!("docker.io/library/redis{digest}"),
        ),
        ("dmcgowan/myapp", "docker.io/dmcgowan/myapp:latest".into()),
        (
            "dmcgowan/myapp:latest",
            "docker.io/dmcgowan/myapp:latest".into(),
        ),
        (
            "docker.io/mcgowan/myapp:latest",
            "docker.io/mcgowan/myapp:latest".into(),
        ),
        (
            &format!("dmcgowan/myapp{digest}"),
            format!("docker.io/dmcgowan/myapp{digest}"),
        ),
        (
            &format!("docker.io/dmcgowan/myapp{digest}"),
            format!("docker.io/dmcgowan/myapp{digest}"),
        ),
        (short_id, format!("docker.io/library/{short_id}:latest")),
        ("dbcc1", "docker.io/library/dbcc1:latest".into()),
        ("busybox", "docker.io/library/busybox:latest".into()),
        ("busybox:latest", "docker.io/library/busybox:latest".into()),
        (
            &format!("busybox{digest}"),
            format!("docker.io/library/busybox{digest}"),
        ),
        ("library/busybox", "docker.io/library/busybox:latest".into()),
        (
            "docker.io/busybox",
            "docker.io/library/busybox:latest".into(),
        ),
        (
            "docker.io/library/busybox",
            "docker.io/library/busybox:latest".into(),
        ),
        (
            "docker.io/busybox:latest",
            "docker.io/library/busybox:latest".into(),
        ),
        (
            "library/busybox:latest",
            "docker.io/library/busybox:latest".into(),
        ),
        (
            "docker.io/library/busybox:latest",
            "docker.io/library/busybox:latest".into(),
        ),
        (
            "gcr.io/library/busybox",
            "gcr.io/library/busybox:latest".into(),
        ),
        (
            &format!("gcr.io/library/busybox:latest{digest}"),
            format!("gcr.io/library/busybox:latest{digest}"),
        ),
    ] {
        assert_eq!(parse(text).to_string(), full, "{text}");
    }
    for id in [&digest[8..], &digest[1..]] {
        assert!(matches!(refuse(id), ReferenceError::Identifier { .. }));
    }
}

/// `TestNormalizedSplitHostname`, `TestDomainAndPath`, `TestParseNamed`
#[test]
fn split_hostname() {
    for (text, domain, path) in [
        ("test.com/foo", "test.com", "foo"),
        ("test_com/foo", "docker.io", "test_com/foo"),
        ("docker/migrator", "docker.io", "docker/migrator"),
        ("test:8080/foo", "test:8080", "foo"),
        ("test.com:8080/foo", "test.com:8080", "foo"),
        ("test-com:8080/foo", "test-com:8080", "foo"),
        ("test.com", "docker.io", "library/test.com"),
        ("foo", "docker.io", "library/foo"),
        ("library/foo", "docker.io", "library/foo"),
        ("xn--n3h.com/foo", "xn--n3h.com", "foo"),
        ("xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo"),
        ("docker.io/foo", "docker.io", "library/foo"),
        ("docker.io/library/foo", "docker.io", "library/foo"),
        ("docker.io/library/foo/bar", "docker.io", "library/foo/bar"),
    ] {
        let reference = parse(text);
        assert_eq!(
            (reference.registry(), reference.repository()),
            (domain, path),
            "{text}"
        );
    }
}
