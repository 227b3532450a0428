//! Time limits of operations.

use std::future::Future;
use std::panic::resume_unwind;
use std::time::Duration;

use async_graphql::{PathSegment, Response};
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::http::{ErrorCode, Refusal};

/// Answers a query, or refuses with `LIMIT_EXCEEDED` after `limit` (zero: never) and drops it. The database ends its statement too: see
/// `wharfinger_jobs::infra::db`.
pub(crate) async fn give_up(limit: Duration, query: impl Future<Output = Response>) -> Response {
    if limit.is_zero() {
        return query.await;
    }
    timeout(limit, query)
        .await
        .unwrap_or_else(|_elapsed| refusal(limit, "ask for less at once").into_response())
}

/// Answers a mutation, or says after `limit` that its outcome is not known. The mutation is not cut off, because it could
/// not be told then whether it had committed: it continues in a task of its own. So it does without a limit (zero) too,
/// because a client that leaves must not end it between two of its transactions. `field` is the response key of its first
/// field.
pub(crate) async fn finish(
    limit: Duration,
    field: String,
    mutation: impl Future<Output = Response> + Send + 'static,
) -> Response {
    let running = tokio::spawn(mutation.in_current_span());
    let ended = if limit.is_zero() {
        Ok(running.await)
    } else {
        timeout(limit, running).await
    };
    match ended {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_stopped) => unknown(limit, field),
        },
        Err(_elapsed) => unknown(limit, field),
    }
}

/// Returns the error of a field, beside `data: null`. Without a path it would be the error of a request that was never
/// executed (GraphQL specification, 7.1.2 "Request errors"), and this one may have been.
fn unknown(limit: Duration, field: String) -> Response {
    let refusal = refusal(
        limit,
        "it is not known whether it was done. Look before you send it again; with the same idempotencyKey it happens once",
    );
    let mut error = refusal.into_error();
    error.path = vec![PathSegment::Field(field)];
    Response::from_errors(vec![error])
}

fn refusal(limit: Duration, then: &str) -> Refusal {
    let limit = humantime::format_duration(limit);
    Refusal::new(
        ErrorCode::LimitExceeded,
        format!("the request took longer than {limit} (limits.request_time): {then}"),
    )
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// Passes at once for what never ends.
    const LIMIT: Duration = Duration::from_millis(1);
    /// Never passes.
    const LONG: Duration = Duration::from_hours(1);

    fn message(response: &Response) -> &str {
        &response.errors[0].message
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_let_go_of() {
        let answered = give_up(LONG, ready(Response::new(1))).await;
        assert_eq!(answered.data, 1.into());
        let (held, released) = tokio::sync::oneshot::channel::<()>();
        let query = async move {
            let _held = held;
            pending().await
        };
        let refused = give_up(LIMIT, query).await;
        assert!(message(&refused).contains("longer than 1ms"), "{refused:?}");
        assert!(released.await.is_err(), "the query is gone");
    }

    #[tokio::test]
    async fn a_mutation_that_takes_too_long_goes_on_to_its_end() {
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mutation = async move {
            gone.await.unwrap();
            end.send(()).unwrap();
            Response::new(1)
        };
        let refused = finish(LIMIT, "signOut".to_owned(), mutation).await;
        assert!(message(&refused).contains("not known"), "{refused:?}");
        go.send(()).unwrap();
        ended.await.unwrap();
        let answered = finish(LONG, String::new(), ready(Response::new(1))).await;
        assert_eq!(answered.data, 1.into());
    }
}
