//! Compression of answers: `br`, `zstd` or `gzip`, as the client likes best.

use axum::Router;
use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate as _, SizeAbove},
};

/// Compresses the answers of these routes that are at least `min_size` bytes long, for clients that say what they can
/// read; 0 compresses nothing. Streams of events stay as they are: an event has to leave at once, and is short.
pub fn compress(routes: Router, min_size: u64) -> Router {
    if min_size == 0 {
        return routes;
    }
    let worth_it = SizeAbove::new(min_size).and(NotForContentType::SSE);
    routes.layer(CompressionLayer::new().compress_when(worth_it))
}
