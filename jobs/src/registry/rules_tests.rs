use proptest::prelude::*;

use std::net::SocketAddr;

use super::endpoint::RegistryHost;
use super::{NotAllowed, RegistryRules};

fn rules(allow: &[&str], deny: &[&str]) -> RegistryRules {
    let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    RegistryRules::parse(&own(allow), &own(deny)).unwrap()
}

fn permits_address(
    rules: &RegistryRules,
    registry: &str,
    address: SocketAddr,
) -> Result<(), NotAllowed> {
    let host = RegistryHost::parse(registry).unwrap().host;
    rules.permits_connection(&host, address)
}

#[test]
fn names() {
    for (allow, deny, registry, permitted) in [
        (&["*"][..], &[][..], "docker.io", true),
        (&["*"], &[], "reg.example:5000", true),
        (&["*"], &[], "1.1.1.1:5000", true),
        (&["*"], &[], "127.0.0.1:5000", false),
        (&["*"], &[], "localhost:5000", false),
        (&["*"], &[], "LOCALHOST.:5000", false),
        (&["*"], &[], "10.0.0.5", false),
        (&["*"], &[], "127.1:5000", false),
        (&["*"], &[], "0x7f000001:5000", false),
        (&["*"], &[], "2130706433", false),
        (&["*"], &[], "[::1]:5000", false),
        (&["*"], &[], "[::ffff:127.0.0.1]:5000", false),
        (&["*"], &[], "169.254.169.254:80", false),
        (&["*"], &[], "0.0.0.0:5000", false),
        (&["*", "127.0.0.1:*"], &[], "127.0.0.1:5000", true),
        (&["*", "127.0.0.1:*"], &[], "127.1:5000", true),
        (&["*", "127.0.0.1:*"], &[], "127.0.0.2:5000", false),
        (&["127.0.0.1:*"], &[], "localhost:5000", true),
        (&["127.0.0.1:5001"], &[], "localhost:5000", false),
        (&["127.0.0.1:*"], &[], "docker.io", false),
        (&["[::1]:5000"], &[], "[::1]:5000", true),
        (&["::1"], &[], "[::1]:443", true),
        (&["ghcr.io"], &[], "ghcr.io", true),
        (&["ghcr.io"], &[], "GHCR.IO:443", true),
        (&["ghcr.io"], &[], "ghcr.io:5000", false),
        (&["ghcr.io:*"], &[], "ghcr.io:5000", true),
        (&["ghcr.io"], &[], "evil.ghcr.io", false),
        (&["docker.io"], &[], "registry-1.docker.io", true),
        (&["index.docker.io"], &[], "docker.io", true),
        (&["*.corp.example:5000"], &[], "a.b.corp.example:5000", true),
        (&["*.corp.example:5000"], &[], "corp.example:5000", false),
        (
            &["*.corp.example:5000"],
            &[],
            "evilcorp.example:5000",
            false,
        ),
        (&["*.corp.example:5000"], &[], "a.corp.example", false),
        (&["*:5000"], &[], "reg.example:5000", true),
        (&["*:5000"], &[], "10.0.0.5:5000", false),
        (&["*"], &["evil.example"], "evil.example:5000", false),
        (&["*"], &["evil.example"], "evil.example.", false),
        (&["*", "10.0.0.5:*"], &["*:22"], "10.0.0.5:22", false),
        (&["*"], &["docker.io"], "index.docker.io", false),
        (&["ghcr.io"], &["*"], "ghcr.io", false),
        (&[], &[], "ghcr.io", false),
        (&["*"], &[], "", false),
        (&["*"], &[], "a/b", false),
        (&["*"], &[], "user@host", false),
        (&["*"], &[], "host:0", false),
        (&["*"], &[], "host:99999", false),
        (&["*"], &[], "a..b", false),
    ] {
        let verdict = rules(allow, deny).permits_name(registry);
        assert_eq!(verdict.is_ok(), permitted, "{allow:?} {deny:?} {registry}");
    }
}

#[test]
fn addresses() {
    for (allow, deny, address, permitted) in [
        (&["*"][..], &[][..], "1.1.1.1:443", true),
        (&["*"], &[], "10.0.0.5:443", false),
        (&["*"], &[], "[::ffff:10.0.0.5]:443", false),
        (&["*"], &[], "169.254.169.254:443", false),
        (&["*", "reg.example"], &[], "10.0.0.5:443", true),
        (&["*", "reg.example"], &[], "10.0.0.5:6379", false),
        (&["*", "reg.example:*"], &[], "169.254.169.254:80", false),
        (&["169.254.169.254:80"], &[], "169.254.169.254:80", true),
        (&["*", "10.0.0.5:443"], &[], "10.0.0.5:443", true),
        (&["*", "reg.example"], &["10.0.0.5"], "10.0.0.5:443", false),
        (
            &["*", "reg.example"],
            &["10.0.0.5:22"],
            "10.0.0.5:443",
            true,
        ),
        (&["*"], &["1.1.1.1"], "[::ffff:1.1.1.1]:443", false),
        // A host that a registry refers to does not have to be in the list, as long as it is public.
        (&["ghcr.io"], &[], "1.1.1.1:443", true),
        (&["ghcr.io"], &["*.example"], "1.1.1.1:443", false),
    ] {
        let rules = rules(allow, deny);
        let verdict = permits_address(&rules, "reg.example", address.parse().unwrap());
        assert_eq!(verdict.is_ok(), permitted, "{allow:?} {deny:?} {address}");
    }
}

#[test]
fn a_refusal_does_not_tell_the_address() {
    let address = "10.0.0.5:443".parse().unwrap();
    let refused = permits_address(&rules(&["*"], &[]), "reg.example", address).unwrap_err();
    assert!(matches!(refused, NotAllowed::Address { .. }));
    assert!(!refused.to_string().contains("10.0"));
}

#[test]
fn bad_patterns_are_named() {
    let bad = ": :5000 *. *x a.* a*.b ** *.* a:b a:0 a:65536 http://a a/b *.10.0.0.5 10.0.0.0/8 [::1 a..b *.a:b:c";
    for bad in bad.split(' ').chain([""]) {
        let error = RegistryRules::parse(&[bad.to_owned()], &[]).unwrap_err();
        assert!(error.to_string().contains(&format!("`{bad}`")), "{error}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(pattern in ".{0,40}", registry in ".{0,40}", ip in any::<std::net::IpAddr>(), port in any::<u16>()) {
        if let Ok(rules) = RegistryRules::parse(std::slice::from_ref(&pattern), &[]) {
            let _ = rules.permits_name(&registry);
            if let Some(host) = RegistryHost::parse(&registry) {
                let _ = rules.permits_connection(&host.host, (ip, port).into());
            }
        }
        let _ = RegistryRules::parse(&[], &[pattern]);
    }

    #[test]
    fn likely_text_does_not_panic(pattern in "[a-z0-9.*:\\[\\]-]{0,20}", registry in "[a-z0-9.:\\[\\]-]{0,20}") {
        if let Ok(rules) = RegistryRules::parse(&[pattern], &[]) {
            let _ = rules.permits_name(&registry);
        }
    }

    #[test]
    fn deny_wins(host in "[a-z]{1,8}\\.[a-z]{2,5}", port in 1_u16..) {
        let registry = format!("{host}:{port}");
        for deny in [host.clone(), registry.clone(), format!("{host}:*"), "*".to_owned(), format!("*:{port}")] {
            prop_assert!(rules(&["*", &registry], &[&deny]).permits_name(&registry).is_err());
        }
        prop_assert!(rules(&[&registry], &[]).permits_name(&registry).is_ok());
    }

    #[test]
    fn a_star_never_opens_an_address_that_std_knows_as_inner(ip in any::<std::net::Ipv4Addr>(), port in 1_u16..) {
        let inner = ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
            || ip.is_multicast() || ip.is_broadcast();
        let verdict = permits_address(&rules(&["*"], &[]), "reg.example", (ip, port).into());
        prop_assert!(!(inner && verdict.is_ok()));
    }
}
