//! `ImageReference` against texts made from the grammar, and against any text.

use proptest::{
    prelude::*,
    string::{RegexGeneratorStrategy, string_regex},
};
use wharfinger_entity::{ExposedPort, ImageReference};

use crate::{fuzz_body, grammar};

fn matching(pattern: &str) -> RegexGeneratorStrategy<String> {
    string_regex(pattern).unwrap()
}

/// A host that Docker takes for one: `localhost`, or one with a dot, a port, brackets or an upper-case letter.
fn registry() -> impl Strategy<Value = String> {
    let component = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?";
    let port = ":[0-9]{1,5}";
    prop_oneof![
        Just("localhost".to_owned()),
        Just("docker.io".to_owned()),
        matching(&format!("({component}\\.){{1,3}}{component}({port})?")),
        matching(&format!("{component}{port}")),
        matching(&format!(
            "\\[[0-9a-f]{{1,4}}:[0-9a-fA-F:]{{0,20}}\\]({port})?"
        )),
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}(:[0-9]{1,5})?",
        "[a-z]{0,4}[A-Z]{1,4}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let component = "[a-z0-9]{1,6}(([._]|__|-{1,3})[a-z0-9]{1,6}){0,3}";
    matching(&format!("{component}(/{component}){{0,3}}"))
        .prop_filter("is an image id in its short form", |path| {
            path != "sha256" && path != "library/sha256"
        })
}

fn tag() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
}

fn digest() -> impl Strategy<Value = Option<String>> {
    prop::option::of("sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
}

fn suffix(tag: Option<&str>, digest: Option<&str>) -> String {
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest
        .map(|digest| format!("@{digest}"))
        .unwrap_or_default();
    tag + &digest
}

/// Texts a few edits away from a reference, which get further into a parser than random ones.
fn nearly() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:/@\\[\\]%é \\-]{0,24}|[a-zA-Z_.]{1,8}(:[0-9a]{0,3})?/[a-zA-Z_.-]{0,6}(:[A-Za-z._é-]{0,4})?(@sha256:[0-9a-fA-F]{63,65})?"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn qualified_references_parse_into_their_parts(registry in registry(), path in path(), tag in tag(), digest in digest()) {
        let text = format!("{registry}/{path}{}", suffix(tag.as_deref(), digest.as_deref()));
        let reference = ImageReference::parse(&text).unwrap();
        let official = registry == "docker.io" && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path };
        prop_assert_eq!(reference.registry(), &registry);
        prop_assert_eq!(reference.repository(), &repository);
        prop_assert_eq!(reference.name(), format!("{registry}/{repository}"));
        let latest = if digest.is_none() { Some("latest") } else { None };
        prop_assert_eq!(reference.tag(), tag.as_deref().or(latest));
        prop_assert_eq!(reference.digest().map(ToString::to_string), digest);
        fuzz_body::check(&text);
    }

    #[test]
    fn short_references_are_docker_hubs(name in "[a-z0-9]{1,8}([._-][a-z0-9]{1,8})?", user in prop::option::of("[a-km-z][a-z0-9]{0,8}"), tag in tag(), digest in digest()) {
        prop_assume!(name != "sha256");
        let familiar = user.as_ref().map_or(name.clone(), |user| format!("{user}/{name}"));
        let reference = ImageReference::parse(&format!("{familiar}{}", suffix(tag.as_deref(), digest.as_deref()))).unwrap();
        prop_assert_eq!(reference.registry(), "docker.io");
        prop_assert_eq!(reference.repository(), format!("{}/{name}", user.as_deref().unwrap_or("library")));
        prop_assert_eq!(reference.familiar_name(), familiar);
        fuzz_body::check(&reference.to_string());
    }

    #[test]
    fn what_is_accepted_matches_the_grammar(text in prop_oneof![any::<String>(), nearly()]) {
        fuzz_body::check(&text);
        if let Ok(reference) = ImageReference::parse(&text) {
            let full = reference.to_string();
            let parts = grammar::reference().captures(&full).unwrap();
            prop_assert_eq!(&parts[1], reference.name());
            prop_assert_eq!(parts.get(2).map(|tag| tag.as_str()), reference.tag());
            prop_assert_eq!(parts.get(3).map(|digest| digest.as_str().to_owned()), reference.digest().map(ToString::to_string));
            prop_assert!(grammar::reference().is_match(&text));
        }
    }

    #[test]
    fn texts_of_others_come_out_clean(text in "([a-z \\PC\\x00-\\x1f\\x7f-\\x9f\u{ad}\u{200b}-\u{202e}\u{2066}-\u{2069}\u{feff}\u{fffd}]|\x1b\\[[0-9;]{0,4}[A-Za-z]?|\u{9b}){0,60}") {
        fuzz_body::check(&text);
    }

    #[test]
    fn ports_are_read_as_docker_reads_them(first in 0_u32..70_000, more in 0_u32..9, protocol in "(/(tcp|udp|sctp|UDP|icmp|))?") {
        let last = first + more;
        let range = if more == 0 { first.to_string() } else { format!("{first}-{last}") };
        let known = !matches!(&*protocol, "/icmp" | "/");
        let port = format!("{range}{protocol}").parse::<ExposedPort>();
        prop_assert_eq!(port.is_ok(), known && first > 0 && last < 65_536);
        if let Ok(port) = port {
            let protocol = if protocol.is_empty() { "/tcp".to_owned() } else { protocol.to_lowercase() };
            prop_assert_eq!(port.to_string(), format!("{range}{protocol}"));
        }
    }

    #[test]
    fn long_input_is_refused(start in any::<String>(), length in 4097_usize..20_000) {
        let text = start + &"a".repeat(length);
        prop_assert!(ImageReference::parse(&text).is_err());
        fuzz_body::check(&text);
    }
}

#[test]
fn what_the_fuzzer_found() {
    // By the grammar a path, and its first part a host that cannot be.
    fuzz_body::check("a_b.c/9");
}
