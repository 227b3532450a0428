//! `GraphiQL` at `/playground`, served from the binary: nothing is loaded from another host.

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use super::response::headers::SecurityHeaders;

struct Asset {
    name: &'static str,
    media: &'static str,
    gzipped: bool,
    content: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media:literal) => {
        Asset {
            name: $name,
            media: $media,
            gzipped: false,
            content: include_bytes!(concat!("../../console/graphiql/", $name)),
        }
    };
    ($name:literal, $media:literal, gzip) => {
        Asset {
            name: $name,
            media: $media,
            gzipped: true,
            content: include_bytes!(concat!("../../console/graphiql/", $name, ".gz")),
        }
    };
}

const PAGE: Asset = asset!("index.html", "text/html; charset=utf-8");
const ASSETS: [Asset; 7] = [
    asset!("playground.js", "text/javascript; charset=utf-8"),
    asset!("playground.css", "text/css; charset=utf-8"),
    asset!(
        "react.production.min.js",
        "text/javascript; charset=utf-8",
        gzip
    ),
    asset!(
        "react-dom.production.min.js",
        "text/javascript; charset=utf-8",
        gzip
    ),
    asset!("graphql-ws.min.js", "text/javascript; charset=utf-8", gzip),
    asset!("graphiql.min.js", "text/javascript; charset=utf-8", gzip),
    asset!("graphiql.min.css", "text/css; charset=utf-8", gzip),
];

/// Returns the routes of the playground: `/playground` and its assets below. The page sends its requests to `/graphql` of
/// the same host.
pub fn playground() -> Router {
    Router::new()
        .route(
            "/playground",
            get(|headers: HeaderMap| async move { serve(&PAGE, &headers) }),
        )
        .route("/playground/{name}", get(asset))
        .layer(SecurityHeaders::PAGES)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => serve(asset, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns an asset, or 304 where the browser has it. Browsers cache it, and ask each time whether it changed.
fn serve(asset: &Asset, request: &HeaderMap) -> Response {
    let digest = hex(&Sha256::digest(asset.content)[..16]);
    let tag = format!("\"{digest}\"");
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',')
                .any(|known| known.trim().trim_start_matches("W/") == tag)
        });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(asset.content))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(&tag).expect("hexadecimal digits are visible ASCII"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
        if asset.gzipped {
            // Sent compressed to every client: one without `Accept-Encoding` accepts any coding (RFC 9110, 12.5.3), and all
            // browsers know this one.
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
