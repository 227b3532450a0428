//! Several requests in one POST, for clients that insist: off unless `limits.requests_per_batch` lets them.

use async_graphql::{Data, Executor};
use axum::{
    http::{HeaderMap, StatusCode, request::Parts},
    response::Response,
};

use crate::http::authenticator::Authenticator;
use crate::http::rejection::Rejection;
use crate::http::request::negotiation::MediaType;
use crate::http::request::parameters::Parameters;
use crate::http::response::encode::{encode, encode_errors, respond};
use crate::http::transport::Transport;

/// Executes one after the other, so that a batch takes no more of the server at a time than a single request, and
/// mutations happen in their order. The answer is a list of the responses; as no single one of them, it has no status
/// of its own and is always `application/json`.
pub(crate) async fn answer<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    data: Data,
    batch: Vec<Parameters>,
) -> Result<Response, Rejection> {
    let limit = transport.settings.max_batch;
    if batch.is_empty() {
        return Err(Rejection::EmptyBatch);
    }
    if batch.len() > limit {
        return Err(Rejection::BatchTooLong(limit));
    }
    let mut headers = HeaderMap::new();
    let mut body = vec![b'['];
    let mut first = Some(data);
    for parameters in batch {
        if body.len() > 1 {
            body.push(b',');
        }
        // All of them together may be as long as one; what is left is for those that come.
        let left = match transport.settings.max_answer {
            0 => 0,
            most => most.saturating_sub(body.len()).max(1),
        };
        let passed = first.take();
        let response = one(transport, parts, passed, parameters, &mut headers, left).await;
        body.extend(response.unwrap_or_else(|rejection| encode_errors(rejection.into_errors())));
    }
    body.push(b']');
    let mut answer = respond(MediaType::Json, StatusCode::OK, body);
    answer.headers_mut().extend(headers);
    Ok(answer)
}

/// One request of a batch: it passes the authenticator by itself, as if it had come alone.
async fn one<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    passed: Option<Data>,
    parameters: Parameters,
    headers: &mut HeaderMap,
    left: usize,
) -> Result<Vec<u8>, Rejection> {
    let passed = match passed {
        Some(data) => data,
        None => transport.authenticator.request(parts).await?,
    };
    let mut request = transport.persisted.find(parameters)?;
    request.data = passed;
    transport.prepare(&mut request)?;
    transport.identify(parts, &mut request).await?;
    let mut response = transport.execute(request).await;
    headers.extend(std::mem::take(&mut response.http_headers));
    Ok(encode(response, left, transport.settings.max_answer))
}
