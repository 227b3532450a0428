//! `reference_test.go`

use wharfinger_entity::{Digest, ReferenceError};

use super::{parse, refuse};

const F64: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// `TestReferenceParse`, with the domain and path of `ParseNormalizedNamed` where `Parse` finds no domain, and the tag of
/// `TagNameOnly` where there is neither tag nor digest
#[test]
fn reference_parse() {
    let digest = &format!("sha256:{F64}");
    let a255 = &"a".repeat(255);
    let deep = &format!("{}a", "a/".repeat(127));
    for (domain, path, tag, digested) in [
        ("test.com", "repo", "tag", false),
        ("test:5000", "repo", "", false),
        ("test:5000", "repo", "tag", false),
        ("test:5000", "repo", "", true),
        ("test:5000", "repo", "tag", true),
        ("sub-dom1.foo.com", "bar/baz/quux", "", false),
        ("sub-dom1.foo.com", "bar/baz/quux", "some-long-tag", false),
        (
            "b.gcr.io",
            "test.example.com/my-app",
            "test.example.com",
            false,
        ),
        ("xn--n3h.com", "myimage", "xn--n3h.com", false),
        ("xn--7o8h.com", "myimage", "xn--7o8h.com", true),
        ("192.168.1.1", "repo", "", false),
        ("192.168.1.1:5000", "repo", "", false),
        ("192.168.1.1:5000", "repo", "5050", false),
        ("[2001:db8::1]", "repo", "", false),
        ("[2001:db8:1:2:3:4:5:6]", "repo", "tag", false),
        ("[2001:db8::1]:5000", "repo", "", false),
        ("[2001:db8::1]:5000", "repo", "tag", false),
        ("[2001:db8::1]:5000", "repo", "", true),
        ("[2001:db8::1]:5000", "repo", "tag", true),
        ("[2001:db8::]:5000", "repo", "", false),
        ("[::1]:5000", "repo", "", false),
        ("example.com", a255, "tag", false),
        // Without a domain in the original.
        ("", "test_com", "", false),
        ("", "test.com", "tag", false),
        ("", "test.com", "5000", false),
        ("", "lowercase", "Uppercase", false),
        ("", deep, "tag-puts-this-over-max", false),
        ("", "foo_bar.com", "8080", false),
        ("", "foo/foo_bar.com", "8080", false),
        ("", "192.168.1.1", "", false),
        ("", "192.168.1.1", "tag", false),
        ("", "192.168.1.1", "5000", false),
    ] {
        let mut text = if domain.is_empty() {
            path.to_owned()
        } else {
            format!("{domain}/{path}")
        };
        if !tag.is_empty() {
            text = format!("{text}:{tag}");
        }
        if digested {
            text = format!("{text}@{digest}");
        }
        let reference = parse(&text);
        let (registry, repository) = match domain {
            "" if path.contains('/') => ("docker.io", path.to_owned()),
            "" => ("docker.io", format!("library/{path}")),
            domain => (domain, path.to_owned()),
        };
        let expected_tag = if tag.is_empty() && !digested {
            "latest"
        } else {
            tag
        };
        assert_eq!(reference.registry(), registry, "{text}");
        assert_eq!(reference.repository(), repository, "{text}");
        assert_eq!(reference.tag().unwrap_or_default(), expected_tag, "{text}");
        assert_eq!(
            reference.digest().map(Digest::as_str),
            digested.then_some(digest.as_str()),
            "{text}"
        );
    }
}

/// The failures of `TestReferenceParse` and `TestWithNameFailure`
#[test]
fn reference_parse_failures() {
    use ReferenceError as E;
    assert_eq!(refuse(""), E::Empty);
    for (text, expected) in [
        ("Uppercase:tag", "UpperCase"),
        ("test:5000/Uppercase/lowercase:tag", "UpperCase"),
        (
            &format!("domain/{}:tag", "a".repeat(256)),
            "RepositoryTooLong",
        ),
        (
            &format!("example.com/{}", "a".repeat(256)),
            "RepositoryTooLong",
        ),
        (":justtag", "NoName"),
        (&format!("@sha256:{F64}"), "NoName"),
        (&format!("repo@sha256:{}", &F64[..34]), "Digest"),
        (&format!("validname@invaliddigest:{F64}"), "Digest"),
        ("aa/asdf$$^/aa", "Repository"),
        ("[2001:db8::1]", "NoRepository"),
        ("[2001:db8::1]:5000", "NoRepository"),
        ("[2001:db8::1]:tag", "NoRepository"),
        ("[fe80::1%eth0]:5000/repo", "Registry"),
        ("[fe80::1%@invalidzone]:5000/repo", "Registry"),
    ] {
        let variant = format!("{:?}", refuse(text));
        assert!(
            variant.starts_with(&format!("{expected} "))
                || variant.starts_with(&format!("{expected}(")),
            "{text}: {variant}"
        );
    }
    // Unsupported there only because that test does not link the algorithm.
    parse(&format!("validname@sha512:{F64}{F64}"));
}
