//! Serving on the loopback.

use axum::Router;
use axum::handler::Handler;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A router that hands every request to one handler: names of images are paths of any depth.
pub(crate) fn all<H, T, S>(handler: H, state: S) -> Router
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Router::new().fallback(handler).with_state(state)
}

/// Serves until the handle is dropped. Returns `127.0.0.1:port`.
pub(crate) async fn serve(router: Router) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, AbortOnDropHandle::new(serving))
}

/// A path or query without the escapes that names of images need.
pub(super) fn decoded(text: &str) -> String {
    text.replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%40", "@")
}
