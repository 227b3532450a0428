//! GraphQL over HTTP (<https://graphql.github.io/graphql-over-http/draft/>): POST, and GET for queries.

use async_graphql::{
    Data, Executor, Response as GraphqlResponse, ServerError,
    parser::types::{ExecutableDocument, Field, OperationDefinition, OperationType, Selection},
};
use axum::{
    body::Body as HttpBody,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use tracing::Instrument as _;

use super::{
    Transport,
    accept::{Accepted, Events, MediaType},
    answer, batch, body,
    error::{ErrorCode, give_codes, is_request_error},
    gate::{Gate, data_of},
    graphql_sse,
    parameters::{Body, Parameters},
    preflight::{self, Encoding},
    quota::QuotaLeft,
    rejection::{Rejection, rejected},
    spans,
};

/// Answers one HTTP request; every answer is a well-formed GraphQL response, a list of them or a stream of them.
pub(super) async fn answer<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
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

async fn execute<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
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
    let data = transport.gate.request(parts).await?;
    let left = data_of::<QuotaLeft>(&data).cloned();
    let asked = Asked {
        parts,
        data,
        events,
        media,
    };
    let answer = run(transport, asked, body, encoding).await;
    let mut answer = answer.unwrap_or_else(|rejection| rejected(media, rejection));
    if let Some(quota) = left.and_then(|left| left.get()) {
        quota.write(answer.headers_mut());
    }
    Ok(answer)
}

/// A request that the gate let in.
struct Asked<'a> {
    parts: &'a Parts,
    data: Data,
    events: Events,
    media: MediaType,
}

async fn run<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    asked: Asked<'_>,
    body: HttpBody,
    encoding: Option<Encoding>,
) -> Result<Response, Rejection> {
    let Asked {
        parts,
        data,
        events,
        media,
    } = asked;
    let mut share = body::Share::default();
    let parameters = match encoding {
        None => Parameters::from_form(parts.uri.query().unwrap_or_default().as_bytes())?,
        Some(encoding) => {
            let room = Some(&transport.room).filter(|_| !transport.gate.knows(parts));
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
            return Ok(graphql_sse::refuse(transport, rejection.into_errors()));
        }
        prepared => prepared?,
    };
    let by_get = encoding.is_none();
    let subscribes = kind == Some(OperationType::Subscription);
    let streamed = events == Events::Always || (events == Events::Subscriptions && subscribes);
    match kind {
        Some(kind @ OperationType::Mutation) if by_get => {
            return Err(Rejection::NotAQuery(kind));
        }
        Some(kind @ OperationType::Subscription) if by_get && !streamed => {
            return Err(Rejection::NotAQuery(kind));
        }
        _ => {}
    }
    let data = std::mem::take(&mut request.data);
    request.data = transport.gate.caller(parts, data).await?;
    drop(share);
    if streamed {
        return Ok(graphql_sse::answer(transport, parts, request, subscribes).await?);
    }
    let span = spans::operation(&mut request);
    let response = transport.executor.execute(request).instrument(span).await;
    Ok(executed(media, response, transport.settings.max_answer))
}

/// The kind of the operation that would run; `None` where the executor will say that there is no such one.
pub(crate) fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Option<OperationType> {
    chosen(document, name).map(|operation| operation.ty)
}

/// The operation that would run. Of several, none without a name: the parser keeps them in no order, and which one is meant
/// is the client's to say (GraphQL specification, 6.1 "Executing Requests").
pub(crate) fn chosen<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let found = if let Some(name) = name {
        operations.find(|(known, _)| known.is_some_and(|known| known == name))
    } else {
        let first = operations.next();
        first.filter(|_| operations.next().is_none())
    };
    found.map(|(_, operation)| &operation.node)
}

/// The field of a subscription that has one at its root and names it plainly: all its events are of it.
pub(crate) fn subscribed_field<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d Field> {
    let operation = chosen(document, name)?;
    match operation.selection_set.node.items.as_slice() {
        [only] if operation.ty == OperationType::Subscription => match &only.node {
            Selection::Field(field) => Some(&field.node),
            _ => None,
        },
        _ => None,
    }
}

fn executed(media: MediaType, mut response: GraphqlResponse, most: usize) -> Response {
    give_codes(&mut response.errors);
    let headers = std::mem::take(&mut response.http_headers);
    let status = match media {
        MediaType::GraphqlResponse if is_request_error(&response) => response
            .errors
            .first()
            .and_then(ErrorCode::of)
            .unwrap_or(ErrorCode::BadRequest)
            .status(),
        _ => StatusCode::OK,
    };
    let mut answer = respond(media, status, encode(response, most, most));
    answer.headers_mut().extend(headers);
    answer
}

/// A response as JSON of so many bytes as are `left` of the `most` that there may be (0: any number). Of one that is longer,
/// the error in its place.
pub(super) fn encode(mut response: GraphqlResponse, left: usize, most: usize) -> Vec<u8> {
    give_codes(&mut response.errors);
    if is_request_error(&response) {
        return encode_errors(response.errors);
    }
    answer::encode(&response, left)
        .unwrap_or_else(|| encode(answer::refuse(response, most), 0, most))
}

/// The response to a request that did not execute, as JSON: it must not have a `data` entry.
pub(super) fn encode_errors(mut errors: Vec<ServerError>) -> Vec<u8> {
    give_codes(&mut errors);
    serde_json::to_vec(&serde_json::json!({ "errors": errors }))
        .expect("GraphQL errors are always JSON")
}

/// An answer with a body that is for nobody but the caller.
pub(super) fn respond(media: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    private(headers);
    response
}

/// What every answer carries: what one user sees must not reach another from a cache on the way.
pub(super) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}
