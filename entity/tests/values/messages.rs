//! Each refusal says what was wrong and what would be right.

use wharfinger_entity::{Digest, ImageReference};

#[test]
fn refusals_say_what_would_be_right() {
    let long = "a".repeat(300);
    let start = "a".repeat(48);
    for (text, message) in [
        ("Redis", "repository name \"Redis\" has upper-case letters: did you mean \"redis\"?".into()),
        ("docker.io/docker/Docker:X", "repository name \"docker/Docker\" has upper-case letters: did you mean \"docker/docker\"?".into()),
        ("https://ghcr.io/a/b", "\"https://\" does not belong in an image reference: leave out the scheme, write \"ghcr.io/a/b\"".into()),
        ("", "the image reference is empty: write a name such as \"redis\" or \"ghcr.io/owner/name:tag\"".into()),
        (" redis", "character 1 of the image reference is a blank or a control character: leave it out".into()),
        ("redis\n", "character 6 of the image reference is a blank or a control character: leave it out".into()),
        ("docker.io/", "\"docker.io\" names a registry but no repository: write \"docker.io/name\"".into()),
        ("[fc00::1]:5000", "\"[fc00::1]:5000\" names a registry but no repository: write \"[fc00::1]:5000/name\"".into()),
        ("redis:", "\"redis:\" ends in a colon without a tag: write \"redis:latest\", or leave the colon out".into()),
        (":7", "\":7\" has no repository name: write one first, such as \"redis:7\"".into()),
        ("redis:-1", "tag \"-1\" is not valid: use letters, digits, \"_\", \".\" and \"-\", and neither \".\" nor \"-\" first".into()),
        (&format!("redis:{long}"), format!("tag \"{start}…\" has 300 characters: at most 128 are allowed")),
        (&long, format!("repository name \"library/{}…\" has 308 characters: at most 255 are allowed", &start[8..])),
        (&long.repeat(20), "an image reference of 6000 bytes is too long: at most 4096 bytes are read".into()),
        ("redis@sha256:ff", "a sha256 digest has 64 hexadecimal digits, and this one has 2: give all of it".into()),
        ("redis@7", "digest \"7\" names no algorithm: write \"sha256:\" and then 64 hexadecimal digits".into()),
        ("a..b", "repository name \"a..b\" is not valid: between slashes, use lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\"".into()),
    ] {
        assert_eq!(ImageReference::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_host_that_is_none_is_named() {
    for host in [
        "foo_bar.com",
        "a_b:5000",
        "fc00::1:5000",
        "[fe80::1%eth0]:5000",
        "a.b:http",
        "a.b:",
        "-a.b",
        "a..b",
        "[]:1",
    ] {
        let message = ImageReference::parse(&format!("{host}/x"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(&format!("registry \"{host}\" is not a valid host: ")),
            "{message}"
        );
    }
}

#[test]
fn an_image_id_is_not_a_name() {
    let hex = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
    for text in [
        hex.to_owned(),
        format!("sha256:{hex}"),
        format!("sha256@sha256:{hex}"),
        format!("docker.io/sha256:{hex}"),
    ] {
        let message = ImageReference::parse(&text).unwrap_err().to_string();
        assert!(
            message.contains("is an image id, and ids cannot be pulled"),
            "{message}"
        );
    }
    assert!(ImageReference::parse(&format!("docker.io/{hex}")).is_ok());
    assert!(ImageReference::parse(&format!("ghcr.io/sha256:{hex}")).is_ok());
}

#[test]
fn tags_and_digests_are_ascii() {
    assert!(ImageReference::parse("redis:é").is_err());
    assert!(ImageReference::parse("redis:٣").is_err());
    assert!(ImageReference::parse(&format!("redis@sha256:{}", "F".repeat(64))).is_err());
    assert!(ImageReference::parse(&format!("redis@sha512:{}", "f".repeat(128))).is_ok());
}

#[test]
fn a_docker_hub_path_that_looks_like_a_host_stays_qualified() {
    for text in [
        "docker.io/example.com/x:1",
        "docker.io/localhost/x:1",
        "docker.io/docker.io/x:1",
    ] {
        let reference = ImageReference::parse(text).unwrap();
        assert_eq!(reference.registry(), "docker.io");
        assert_eq!(reference.familiar(), text);
        assert_eq!(ImageReference::parse(&reference.familiar()), Ok(reference));
    }
}

#[test]
fn pinning_keeps_the_tag() {
    let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let pinned = ImageReference::parse(&format!("redis:7@{digest}")).unwrap();
    assert_eq!(pinned.familiar(), format!("redis:7@{digest}"));
    assert_eq!(pinned.tag(), Some("7"));
    assert_eq!(pinned.digest(), Some(&digest));
}
