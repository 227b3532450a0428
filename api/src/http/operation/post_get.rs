//! GraphQL over HTTP (<https://graphql.github.io/graphql-over-http/draft/>): POST, and GET for queries.

use async_graphql::{Data, Executor, parser::types::OperationType};
use axum::{
    body::Body as HttpBody,
    extract::Request,
    http::{Method, request::Parts},
    response::Response,
};

use super::{batch, sse};
use crate::http::authenticator::{Authenticator, data_of};
use crate::http::rejection::{Rejection, rejected};
use crate::http::request::body;
use crate::http::request::negotiation::{Accepted, Events, MediaType};
use crate::http::request::parameters::{Body, Parameters};
use crate::http::request::preflight::{self, Encoding};
use crate::http::response::encode::executed;
use crate::http::response::quota::QuotaLeft;
use crate::http::transport::Transport;

/// Answers one HTTP request; every answer is a well-formed GraphQL response, a list of them or a stream of them.
pub(crate) async fn answer<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let accepted = Accepted::of(&parts.headers);
    let media = accepted.media.unwrap_or(MediaType::Json);
    if accepted.media.is_none() && accepted.events == Events::Never {
        return rejected(media, Rejection::NotAcceptable);
    }
    execute(transport, &parts, body, accepted.events, media)
        .await
        .unwrap_or_else(|rejection| rejected(media, rejection))
}

async fn execute<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    body: HttpBody,
    events: Events,
    media: MediaType,
) -> Result<Response, Rejection> {
    let encoding = match parts.method {
        Method::POST => Some(preflight::encoding(&parts.headers).ok_or(Rejection::ContentType)?),
        Method::GET | Method::HEAD => None,
        ref other => return Err(Rejection::Method(other.clone())),
    };
    let data = transport.authenticator.request(parts).await?;
    let left = data_of::<QuotaLeft>(&data).cloned();
    let answer = run(transport, parts, data, body, encoding, events, media).await;
    let mut answer = answer.unwrap_or_else(|rejection| rejected(media, rejection));
    if let Some(quota) = left.and_then(|left| left.get()) {
        quota.write(answer.headers_mut());
    }
    Ok(answer)
}

/// Answers a request that the authenticator let in.
async fn run<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    data: Data,
    body: HttpBody,
    encoding: Option<Encoding>,
    events: Events,
    media: MediaType,
) -> Result<Response, Rejection> {
    let mut share = body::Share::default();
    let parameters = match encoding {
        None => Parameters::from_form(parts.uri.query().unwrap_or_default().as_bytes())?,
        Some(encoding) => {
            let room = Some(&transport.room).filter(|_| !transport.authenticator.knows(parts));
            let settings = &transport.settings;
            let read = body::read(&parts.headers, body, encoding, settings, room).await?;
            share = read.1;
            match read.0 {
                Body::One(parameters) => parameters,
                Body::Batch(_) if events == Events::Always => return Err(Rejection::StreamedBatch),
                Body::Batch(batch) => return batch::answer(transport, parts, data, batch).await,
            }
        }
    };
    let found = transport.persisted.find(parameters);
    let prepared = found.map_err(Rejection::from).and_then(|mut request| {
        request.data = data;
        let kind = transport.prepare(&mut request)?;
        Ok((request, kind))
    });
    let (mut request, kind) = match prepared {
        Err(rejection) if events == Events::Always && rejection.is_of_document() => {
            return Ok(sse::refuse(transport, rejection.into_errors()));
        }
        prepared => prepared?,
    };
    let subscribes = kind == Some(OperationType::Subscription);
    let streamed = events == Events::Always || (events == Events::Subscriptions && subscribes);
    match kind {
        Some(OperationType::Subscription) if streamed => {}
        Some(kind @ (OperationType::Mutation | OperationType::Subscription))
            if encoding.is_none() =>
        {
            return Err(Rejection::NotAQuery(kind));
        }
        _ => {}
    }
    transport.identify(parts, &mut request).await?;
    drop(share);
    if streamed {
        return Ok(sse::answer(transport, parts, request, subscribes).await?);
    }
    let response = transport.execute(request).await;
    Ok(executed(media, response, transport.settings.max_answer))
}
