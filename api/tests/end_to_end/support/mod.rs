//! What the tests stand on: processes, servers and clients. Everything here panics where it cannot do what it says.

pub(crate) mod books;
pub(crate) mod collector;
pub(crate) mod disk_server;
pub(crate) mod durable_server;
pub(crate) mod engine_proxy;
pub(crate) mod graphql;
pub(crate) mod postgres_proxy;
pub(crate) mod process;
pub(crate) mod registry_proxy;
pub(crate) mod servers;
pub(crate) mod socket;
pub(crate) mod world;

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Longer than anything takes on a busy machine; a test that gets here has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks at something that cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits for `future`, or fails the test and says what did not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_elapsed| panic!("not within {DEADLINE:?}: {what}"))
}

/// Looks until there is an answer, or fails the test and says what did not happen.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
