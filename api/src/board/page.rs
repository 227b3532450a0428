//! The content security policy of apalis-board's page: nothing from any other host.

use apalis_board_api::ui::ServeUI;
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// Returns the policy: everything from this listener only. The page's WebAssembly may run, and the inline script that starts
/// it, by its hash. The page sets inline styles and a `<base>`.
pub(super) fn content_security_policy() -> HeaderValue {
    let page = ServeUI::get_file("index.html").and_then(|file| file.contents_utf8());
    let hashes =
        inline_scripts(page.unwrap_or_default()).fold(String::new(), |mut hashes, script| {
            hashes.push_str(" 'sha256-");
            hashes.push_str(&BASE64_STANDARD.encode(Sha256::digest(script)));
            hashes.push('\'');
            hashes
        });
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{hashes}; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'self'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("a policy of plain letters is a header's value")
}

/// Returns the texts of the inline scripts of a page.
fn inline_scripts(page: &str) -> impl Iterator<Item = &str> {
    page.split("<script").skip(1).filter_map(|part| {
        let (attributes, rest) = part.split_once('>')?;
        let (text, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=")).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_of_its_own_and_it_may_run() {
        let policy = content_security_policy();
        let policy = policy.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 1, "{policy}");
        let page = "<script src=\"a.js\"></script><script type=\"module\">b()</script>";
        assert_eq!(inline_scripts(page).collect::<Vec<_>>(), ["b()"]);
    }
}
