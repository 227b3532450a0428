//! `normalize_test.go`: names

use wharfinger_entity::ReferenceError;

use super::{parse, refuse};

const HEX: &str = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
const SONG: &str = "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev";

/// `TestValidateReferenceName`
#[test]
fn validate_reference_name() {
    for text in [
        "docker/docker",
        "library/debian",
        "debian",
        "localhost/library/debian",
        "localhost/debian",
        "LOCALDOMAIN/library/debian",
        "LOCALDOMAIN/debian",
        "docker.io/docker/docker",
        "docker.io/library/debian",
        "docker.io/debian",
        "index.docker.io/docker/docker",
        "index.docker.io/library/debian",
        "index.docker.io/debian",
        "127.0.0.1:5000/docker/docker",
        "127.0.0.1:5000/library/debian",
        "127.0.0.1:5000/debian",
        "192.168.0.1",
        "192.168.0.1:80",
        "192.168.0.1:8/debian",
        "192.168.0.2:25000/debian",
        SONG,
        "[fc00::1]:5000/docker",
        "[fc00::1]:5000/docker/docker",
        "[fc00:1:2:3:4:5:6:7]:5000/library/debian",
        &format!("docker.io/{HEX}"),
        "Docker/docker",
        "DOCKER/docker",
    ] {
        parse(text);
    }
    for text in [
        "https://github.com/docker/docker",
        "docker/Docker",
        "-docker",
        "-docker/docker",
        "-docker.io/docker/docker",
        "docker///docker",
        "docker.io/docker/Docker",
        "docker.io/docker///docker",
        "[fc00::1]",
        "[fc00::1]:5000",
        "fc00::1:5000/debian",
        "[fe80::1%eth0]:5000/debian",
        "[2001:db8:3:4::192.0.2.33]:5000/debian",
        HEX,
    ] {
        refuse(text);
    }
}

/// `TestValidateRemoteName`, and the failures of `TestInvalidReferenceComponents`
#[test]
fn validate_remote_name() {
    for text in [
        "docker-rules/docker",
        "docker---rules/docker",
        "doc/docker",
        "d/docker",
        "jess/t",
        "dock__er/docker",
    ] {
        parse(text);
    }
    let long = format!(
        "{}/docker",
        ["this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255"; 4].join("_")
    );
    for text in [
        "-docker-/docker",
        "dock..er/docker",
        "dock_.er/docker",
        "dock-.er/docker",
        "docker/",
        &long,
        "-foo",
        "busybox:-foo",
        "busybox@foo",
    ] {
        refuse(text);
    }
    assert!(matches!(
        refuse(&long),
        ReferenceError::RepositoryTooLong { .. }
    ));
}

/// `TestParseRepositoryInfo`: domain, path, familiar name, ambiguous name; the full name there is domain and path
#[test]
fn parse_repository_info() {
    for (domain, path, familiar, ambiguous) in [
        ("localhost", "fooo", "localhost/fooo", "localhost/fooo"),
        (
            "localhost",
            "fooo/bar",
            "localhost/fooo/bar",
            "localhost/fooo/bar",
        ),
        (
            "LOCALDOMAIN",
            "fooo",
            "LOCALDOMAIN/fooo",
            "LOCALDOMAIN/fooo",
        ),
        (
            "LOCALDOMAIN",
            "fooo/bar",
            "LOCALDOMAIN/fooo/bar",
            "LOCALDOMAIN/fooo/bar",
        ),
        (
            "docker.io",
            "fooo/bar",
            "fooo/bar",
            "index.docker.io/fooo/bar",
        ),
        ("docker.io", "library/ubuntu", "ubuntu", "library/ubuntu"),
        ("docker.io", "nonlibrary/ubuntu", "nonlibrary/ubuntu", ""),
        ("docker.io", "other/library", "other/library", ""),
        (
            "127.0.0.1:8000",
            "private/moonbase",
            "127.0.0.1:8000/private/moonbase",
            "",
        ),
        (
            "127.0.0.1:8000",
            "privatebase",
            "127.0.0.1:8000/privatebase",
            "",
        ),
        (
            "example.com",
            "private/moonbase",
            "example.com/private/moonbase",
            "",
        ),
        ("example.com", "privatebase", "example.com/privatebase", ""),
        (
            "example.com:8000",
            "private/moonbase",
            "example.com:8000/private/moonbase",
            "",
        ),
        (
            "example.com:8000",
            "privatebasee",
            "example.com:8000/privatebasee",
            "",
        ),
        (
            "docker.io",
            "library/ubuntu-12.04-base",
            "ubuntu-12.04-base",
            "index.docker.io/library/ubuntu-12.04-base",
        ),
        ("docker.io", "library/foo", "foo", "docker.io/foo"),
        ("docker.io", "library/foo/bar", "library/foo/bar", ""),
        ("docker.io", "store/foo/bar", "store/foo/bar", ""),
        ("Foo", "bar", "Foo/bar", ""),
        ("FOO", "bar", "FOO/bar", ""),
    ] {
        let full = format!("{domain}/{path}");
        let texts = [familiar, &full, ambiguous].into_iter();
        for text in texts.filter(|text| !text.is_empty()) {
            let reference = parse(text);
            assert_eq!(reference.familiar_name(), familiar, "{text}");
            assert_eq!(reference.name(), full, "{text}");
            assert_eq!(reference.registry(), domain, "{text}");
            assert_eq!(reference.repository(), path, "{text}");
        }
    }
}
