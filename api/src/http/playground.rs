//! `GraphiQL` at `/playground`, served from the binary: nothing is loaded from another host.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::response::etag;
use super::response::headers::PAGE_HEADERS;

struct Asset {
    name: &'static str,
    media: &'static str,
    gzipped: bool,
    content: &'static [u8],
}

/// A file of the playground, stored with `$ending` behind its name: `.gz` for a compressed one.
macro_rules! asset {
    ($name:literal, $media:expr, $ending:literal) => {
        Asset {
            name: $name,
            media: $media,
            gzipped: !$ending.is_empty(),
            content: include_bytes!(concat!("../../console/graphiql/", $name, $ending)),
        }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const PAGE: Asset = asset!("index.html", "text/html; charset=utf-8", "");
const ASSETS: [Asset; 7] = [
    asset!("playground.js", SCRIPT, ""),
    asset!("playground.css", STYLE, ""),
    asset!("react.production.min.js", SCRIPT, ".gz"),
    asset!("react-dom.production.min.js", SCRIPT, ".gz"),
    asset!("graphql-ws.min.js", SCRIPT, ".gz"),
    asset!("graphiql.min.js", SCRIPT, ".gz"),
    asset!("graphiql.min.css", STYLE, ".gz"),
];

/// Returns the routes of the playground: `/playground`, which uses `/graphql` of the same host, and its assets below.
pub fn playground() -> Router {
    let page = async |headers: HeaderMap| serve(&PAGE, &headers);
    Router::new()
        .route("/playground", get(page))
        .route("/playground/{name}", get(asset))
        .layer(PAGE_HEADERS)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => serve(asset, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns an asset, or 304 where the browser has it.
fn serve(asset: &Asset, request: &HeaderMap) -> Response {
    let tag = hex::encode(&Sha256::digest(asset.content)[..16]);
    let content = Bytes::from_static(asset.content);
    let mut response = etag::answer(request, &tag, asset.media, content);
    if asset.gzipped && response.status() == StatusCode::OK {
        // Sent compressed to every client: one without `Accept-Encoding` accepts any coding (RFC 9110, 12.5.3), and all
        // browsers know this one.
        let gzip = HeaderValue::from_static("gzip");
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, gzip);
    }
    response
}
