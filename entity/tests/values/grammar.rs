//! The grammar of github.com/distribution/reference (`regexp.go`), built the way it is there.

use std::sync::LazyLock;

use regex::Regex;

/// The anchored regular expression of a reference, with groups for the name, the tag and the digest. Go's `\w` and
/// `[[:xdigit:]]` are ASCII, hence the `(?-u)`; its `$` is the end of the text, as here.
pub(crate) fn reference() -> &'static Regex {
    static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
        let component = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
        let domain_name = format!(r"{component}(?:\.{component})*");
        let ipv6 = r"\[(?:[a-fA-F0-9:]+)\]";
        let domain = format!("(?:{domain_name}|{ipv6})(?::[0-9]+)?");
        let path_component = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
        let name = format!("(?:{domain}/)?{path_component}(?:/{path_component})*");
        let tag = r"(?-u:\w)[A-Za-z0-9_.-]{0,127}";
        let digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][[:xdigit:]]{32,}";
        Regex::new(&format!("^({name})(?::({tag}))?(?:@({digest}))?$")).unwrap()
    });
    &REFERENCE
}
