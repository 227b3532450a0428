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

    fn read(media: &[&str], forced: &str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        for media in media {
            headers.append(header::CONTENT_TYPE, media.parse().unwrap());
        }
        headers.insert(FORCING[0], forced.parse().unwrap());
        encoding(&headers)
    }

    #[test]
    fn nothing_but_json_and_forms_in_utf8_is_read() {
        let form = "application/x-www-form-urlencoded;charset=\"utf-8\"";
        assert_eq!(read(&[form], "1"), Some(Encoding::Form));
        for media in [
            "application/graphql",
            "text/plain; charset=latin1",
            "nonsense",
            "",
        ] {
            assert_eq!(read(&[media], "1"), None, "{media}");
        }
        assert_eq!(read(&["application/json", "text/plain"], "1"), None);
        for media in [&[][..], &["text/plain"], &[form]] {
            assert_eq!(read(media, " "), None, "no value forces nothing: {media:?}");
        }
    }
}
