//! Texts that change only with the program, with a strong entity tag.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use sha2::{Digest, Sha256};

use super::compress::compress;

/// Returns a route that answers `GET` with this text, compressed as [`compress`] says, or with 304.
///
/// A strong tag identifies bytes, and a compressed text has other bytes (RFC 9110, 8.8.3.3), so its tag ends with the
/// coding.
pub fn tagged(path: &str, media: &'static str, text: String, min_size: u64) -> Router {
    let tag = hex::encode(Sha256::digest(text.as_bytes()));
    let answer = move |request: HeaderMap| {
        let response = answer(&request, &tag, media, &text);
        async move { response }
    };
    compress(Router::new().route(path, get(answer)), min_size).layer(from_fn(name_coding))
}

fn answer(request: &HeaderMap, tag: &str, media: &'static str, text: &str) -> Response {
    let own = format!("\"{tag}\"");
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .find(|known| *known == "*" || without_coding(known) == own);
    let mut response = match known {
        Some(_) => Response::new(Body::empty()),
        None => Response::new(Body::from(text.to_owned())),
    };
    let tag = match known {
        // The tag that the client has, with its coding.
        Some(known) if known != "*" => known,
        _ => own.as_str(),
    };
    let tag = HeaderValue::from_str(tag).expect("it was a header, or is hexadecimal digits");
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    // Clients keep the text, and ask each time whether it changed.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if known.is_some() {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    response
}

/// Returns the tag of the text without compression.
fn without_coding(tag: &str) -> String {
    for coding in ["br", "zstd", "gzip"] {
        if let Some(start) = tag.strip_suffix(&format!("-{coding}\"")) {
            return format!("{start}\"");
        }
    }
    tag.to_owned()
}

async fn name_coding(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let coding = headers.get(header::CONTENT_ENCODING);
    let coding = coding.and_then(|coding| coding.to_str().ok());
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if let (Some(coding), Some(tag)) = (coding, tag) {
        let tag = format!("{}-{coding}\"", tag.trim_end_matches('"'));
        let tag = HeaderValue::from_str(&tag).expect("both were headers");
        headers.insert(header::ETAG, tag);
    }
    response
}
