//! Waiting that ends.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Longer than anything takes on a busy machine; a test that gets here has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks at something that cannot be waited for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
