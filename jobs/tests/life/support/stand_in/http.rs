//! Serving on the loopback.

use axum::Router;
use axum::handler::Handler;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A router that hands every request to one handler: names of images are paths of any depth.
pub(super) fn all<H, T, S>(handler: H, state: S) -> Router
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Router::new().fallback(handler).with_state(state)
}

/// Serves until the handle is dropped. Returns the port.
pub(super) async fn serve(router: Router) -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (port, AbortOnDropHandle::new(serving))
}

/// A path or query without the escapes that names of images need.
pub(super) fn decoded(text: &str) -> String {
    text.replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%40", "@")
}
