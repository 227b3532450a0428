//! `regexp_test.go`

use wharfinger_entity::ReferenceError;

use super::{parse, refuse};
use crate::grammar;

/// `TestDomainRegexp`: whether each is a domain
#[test]
fn domain_regexp() {
    for domain in [
        "test.com",
        "test.com:10304",
        "localhost",
        "localhost:8080",
        "a.b",
        "ab.cd.com",
        "a-b.com",
        "ab.c-om",
        "0101.com",
        "001a.com",
        "b.gbc.io:443",
        "b.gbc.io",
        "xn--n3h.com",
        "Asdf.com",
        "192.168.1.1:75050",
        "192.168.1.1:750050",
        "[fd00:1:2::3]:75050",
        "[fd00123123123]:75050",
        "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:75050",
        "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:750505",
    ] {
        assert_eq!(parse(&format!("{domain}/x")).registry(), domain);
    }
    // A domain by the grammar, but Docker takes it for the first part of a path.
    assert_eq!(parse("a/x").repository(), "a/x");
    for domain in [
        "test.com:http",
        "-ab.com",
        "ab-.com",
        "ab.-com",
        "ab.com-",
        "[fd00:1:2::3]75050",
        "[fd00:1:2::3]::75050",
        "[fd00:1:2::3%eth0]:75050",
        "fd00:1:2::3:75050",
    ] {
        assert!(
            matches!(
                refuse(&format!("{domain}/x")),
                ReferenceError::Registry { .. }
            ),
            "{domain}"
        );
    }
}

/// `TestFullNameRegexp` and `TestReferenceRegexp`: both the parser and the grammar of these tests agree with them
#[test]
fn name_and_reference_regexp() {
    let digest = "@sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
    for text in [
        "short",
        "simple/name",
        "library/ubuntu",
        "docker/stevvooe/app",
        "aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb/bb/bb/bb/bb",
        "aa/aa/bb/bb/bb",
        "a/a/a/a",
        "a",
        "a/aa",
        "a/aa/a",
        "foo.com",
        "foo.com:8080/bar",
        "foo.com/bar",
        "foo.com/bar/baz",
        "localhost:8080/bar",
        "sub-dom1.foo.com/bar/baz/quux",
        "blog.foo.com/bar/baz",
        "aa-a/a",
        "foo_bar",
        "foo_bar.com",
        "foo.com/foo_bar",
        "b.gcr.io/test.example.com/my-app",
        "xn--n3h.com/myimage",
        "xn--7o8h.com/myimage",
        "example.com/xn--7o8h.com/myimage",
        "example.com/some_separator__underscore/myimage",
        "do__cker/docker",
        "registry.io/foo/project--id.module--name.ver---sion--name",
        "Asdf.com/foo/bar",
        // A name with a tag, so no name alone.
        "foo_bar.com:8080",
        "registry.com:8080/myapp:tag",
        &format!("registry.com:8080/myapp{digest}"),
        &format!("registry.com:8080/myapp:tag2{digest}"),
        &format!("localhost:8080{digest}"),
        &format!("localhost:8080/name{digest}"),
        &format!("localhost{digest}"),
    ] {
        parse(text);
        assert!(grammar::reference().is_match(text), "{text}");
    }
    for text in [
        "",
        "a/a/a/a/",
        "a//a/a",
        "foo.com/",
        "foo.com:http/bar",
        "a^a",
        "aa/asdf$$^/aa",
        "asdf$$^/aa",
        "a-/a/a/a",
        "foo.com/a-/a/a",
        "-foo/bar",
        "foo/bar-",
        "foo-/bar",
        "foo/-bar",
        "_foo/bar",
        "foo_bar.com:8080/app",
        "____/____",
        "_docker/_docker",
        "docker_/docker_",
        "example.com/__underscore/myimage",
        "example.com/..dots/myimage",
        "example.com/.dots/myimage",
        "example.com/nodouble..dots/myimage",
        "docker./docker",
        ".docker/docker",
        "docker-/docker",
        "-docker/docker",
        "do..cker/docker",
        "do__cker:8080/docker",
        "Foo/FarB",
        "registry.com:8080/myapp@sha256:badbadbadbad",
        "registry.com:8080/myapp:invalid~tag",
        "bad_hostname.com:8080/myapp:tag",
        &format!("localhost:http/name{digest}"),
        "registry.com:8080/myapp@bad",
        "registry.com:8080/myapp@2bad",
    ] {
        refuse(text);
        assert!(!grammar::reference().is_match(text), "{text}");
    }
    // A name by the grammar, and too long for a repository of Docker Hub.
    assert!(matches!(
        refuse(&format!("{}a", "a/".repeat(128))),
        ReferenceError::RepositoryTooLong { .. }
    ));
}

/// `TestIdentifierRegexp`: only 64 lower-case digits are an id
#[test]
fn identifier_regexp() {
    let id = "da304e823d8ca2b9d863a3c897baeb852ba21ea9a9f1414736394ae7fcaf9821";
    assert!(matches!(refuse(id), ReferenceError::Identifier { .. }));
    assert!(matches!(
        refuse(&id.to_uppercase()),
        ReferenceError::UpperCase { .. }
    ));
    parse(&id[..60]);
    parse(&format!("{id}8482"));
}
