//! Texts that change only with the program, with a strong entity tag.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::headers::compress;

/// Returns a route that answers `GET` with this text, compressed as [`compress`] says, or with 304.
///
/// A strong tag identifies bytes, and a compressed text has other bytes (RFC 9110, 8.8.3.3), so its tag ends with the
/// coding.
pub fn tagged(path: &str, media: &'static str, text: String, min_size: u64) -> Router {
    let tag = hex::encode(Sha256::digest(text.as_bytes()));
    let text = Bytes::from(text);
    let answer = move |request: HeaderMap| {
        let mut response = answer(&request, &tag, media, text.clone());
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().insert(header::VARY, vary);
        async move { response }
    };
    compress(Router::new().route(path, get(answer)), min_size).layer(from_fn(name_coding))
}

/// Answers with a text, or with 304 where the client has it. `tag` goes between the quotes of its entity tag. Clients keep the
/// text, and ask each time whether it changed.
pub(crate) fn answer(request: &HeaderMap, tag: &str, media: &'static str, text: Bytes) -> Response {
    let own = format!("\"{tag}\"");
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .find(|known| *known == "*" || without_coding(known) == own);
    let mut response = Response::new(Body::empty());
    if known.is_some() {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(text);
        let media = HeaderValue::from_static(media);
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    // The tag that the client has, with its coding.
    let tag = known.filter(|known| *known != "*").unwrap_or(&own);
    let tag = HeaderValue::from_str(tag).expect("it was a header, or is hexadecimal digits");
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Returns the tag of the text without compression.
fn without_coding(tag: &str) -> String {
    let mut endings = ["-br\"", "-zstd\"", "-gzip\""].into_iter();
    let start = endings.find_map(|ending| tag.strip_suffix(ending));
    start.map_or_else(|| tag.to_owned(), |start| format!("{start}\""))
}

async fn name_coding(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let (Some(coding), Some(tag)) = (text(header::CONTENT_ENCODING), text(header::ETAG)) {
        let tag = format!("{}-{coding}\"", tag.trim_end_matches('"'));
        let tag = HeaderValue::from_str(&tag).expect("both were headers");
        headers.insert(header::ETAG, tag);
    }
    response
}
