//! Protection against cross-site request forgery.
//!
//! A page may send a `POST` to any site, with cookies, if a form could have sent it. For everything else the browser first
//! sends a CORS preflight, which this server refuses. So a body is read only where its type, or a header beside it, cannot
//! come from a form.

use axum::http::{HeaderMap, header};

/// Headers that force a preflight, by the names that clients use (GraphQL over HTTP, "Exercise caution"; the other two are
/// those of Apollo's clients).
const FORCING: [&str; 3] = [
    "graphql-require-preflight",
    "apollo-require-preflight",
    "x-apollo-operation-name",
];

/// The encoding of the parameters in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// One JSON object.
    Json,
    /// Like the query string of a GET.
    Form,
}

/// Returns whether a browser would have sent a preflight before this request from another site's page.
pub(crate) fn is_forced(headers: &HeaderMap) -> bool {
    FORCING.iter().any(|name| {
        headers
            .get(*name)
            .is_some_and(|value| !value.as_bytes().trim_ascii().is_empty())
    })
}

/// Returns the encoding of the body; `None` for one that is not read.
pub(crate) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (value, None) = (values.next(), values.next()) else {
        return None;
    };
    let Some(value) = value else {
        return is_forced(headers).then_some(Encoding::Json);
    };
    let mut parts = value.to_str().ok()?.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    if !parts.all(is_utf8) {
        return None;
    }
    match media.as_str() {
        "application/json" => Some(Encoding::Json),
        "text/plain" if is_forced(headers) => Some(Encoding::Json),
        "application/x-www-form-urlencoded" if is_forced(headers) => Some(Encoding::Form),
        _ => None,
    }
}

/// Returns whether a parameter of the media type is compatible with UTF-8.
fn is_utf8(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
            charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(media: Option<&str>, forced: Option<(&'static str, &str)>) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        if let Some(media) = media {
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
        }
        if let Some((name, value)) = forced {
            headers.insert(name, value.parse().unwrap());
        }
        encoding(&headers)
    }

    #[test]
    fn what_a_form_can_send_needs_a_header_that_no_form_can() {
        for media in [
            None,
            Some("text/plain"),
            Some("text/plain; charset=UTF-8"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert_eq!(read(media, None), None, "{media:?}");
            assert_eq!(read(media, Some((FORCING[0], " "))), None, "{media:?}");
            for name in FORCING {
                let found = read(media, Some((name, "1")));
                assert!(found.is_some(), "{media:?} with {name}");
            }
        }
    }

    #[test]
    fn nothing_but_json_and_forms_in_utf8_is_read() {
        let forced = Some((FORCING[0], "1"));
        assert_eq!(read(Some("application/json"), None), Some(Encoding::Json));
        let form = "application/x-www-form-urlencoded;charset=\"utf-8\"";
        assert_eq!(read(Some(form), forced), Some(Encoding::Form));
        for media in [
            "multipart/form-data; boundary=x",
            "application/graphql",
            "application/json; charset=utf-16",
            "text/plain; charset=latin1",
            "nonsense",
            "",
        ] {
            assert_eq!(read(Some(media), forced), None, "{media}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::CONTENT_TYPE, "application/json".parse().unwrap());
        twice.append(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(encoding(&twice), None);
    }
}
