//! Compression of responses: `br`, `zstd` or `gzip`, by the client's preference.

use axum::Router;
use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate as _, SizeAbove},
};

/// Compresses responses of these routes of at least `min_size` bytes, for clients that accept it; 0 compresses none.
/// Streams of events are not compressed, because an event is short and has to leave at once.
pub fn compress(routes: Router, min_size: u64) -> Router {
    if min_size == 0 {
        return routes;
    }
    let worth_it = SizeAbove::new(min_size).and(NotForContentType::SSE);
    routes.layer(CompressionLayer::new().compress_when(worth_it))
}
