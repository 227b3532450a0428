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
    let (redis, busybox) = ("docker.io/library/redis", "docker.io/library/busybox");
    for (name, names) in [
        (redis, &["redis", redis][..]),
        (
            "docker.io/dmcgowan/myapp",
            &["dmcgowan/myapp", "docker.io/dmcgowan/myapp"],
        ),
        (
            busybox,
            &["busybox", "library/busybox", "docker.io/busybox", busybox],
        ),
        ("gcr.io/library/busybox", &["gcr.io/library/busybox"]),
        (&format!("docker.io/library/{short_id}"), &[short_id]),
        ("docker.io/library/dbcc1", &["dbcc1"]),
        ("docker.io/mcgowan/myapp", &["docker.io/mcgowan/myapp"]),
    ] {
        let latest = format!("{name}:latest");
        for text in names {
            assert_eq!(parse(text).to_string(), latest);
            assert_eq!(parse(&format!("{text}:latest")).to_string(), latest);
            let exact = parse(&format!("{text}{digest}"));
            assert_eq!(exact.to_string(), format!("{name}{digest}"));
            let both = parse(&format!("{text}:latest{digest}"));
            assert_eq!(both.to_string(), format!("{latest}{digest}"));
        }
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
