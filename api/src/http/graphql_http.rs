//! GraphQL over HTTP (<https://graphql.github.io/graphql-over-http/draft/>): POST, and GET for queries.

use async_graphql::{
    Executor, Response as GraphqlResponse, ServerError,
    parser::types::{ExecutableDocument, OperationType},
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use futures::StreamExt;
use tracing::Instrument as _;

use super::{
    Transport,
    accept::MediaType,
    error::{ErrorCode, Refusal, give_codes, is_request_error},
    gate::Gate,
    parameters::{BadParameters, Parameters},
    quota::{self, Quota},
    spans, tokens,
};

/// What the endpoint understands, for `Allow`.
const METHODS: &str = "GET, HEAD, POST";

/// Why a request was answered without being executed.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("the method {0} is not allowed here: use POST, or GET for a query")]
    Method(Method),
    #[error("a {0} cannot be sent with GET: use POST")]
    NotAQuery(OperationType),
    #[error(
        "none of the types in Accept can be had: application/graphql-response+json, application/json"
    )]
    NotAcceptable,
    #[error("the Content-Type must be application/json in UTF-8")]
    ContentType,
    #[error("the request body is longer than {0} bytes")]
    TooLong(usize),
    #[error("the request body could not be read")]
    Broken,
    #[error(transparent)]
    Parameters(#[from] BadParameters),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Document(ServerError),
}

/// Answers one HTTP request; every answer is a well-formed GraphQL response.
pub(super) async fn answer<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let accepted = MediaType::negotiate(&parts.headers);
    let media = accepted.unwrap_or(MediaType::Json);
    let outcome = if accepted.is_some() {
        execute(transport, &parts, body).await
    } else {
        Err(Rejection::NotAcceptable)
    };
    match outcome {
        Ok(response) => executed(media, response),
        Err(rejection) => rejected(media, rejection),
    }
}

async fn execute<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    parts: &Parts,
    body: Body,
) -> Result<GraphqlResponse, Rejection> {
    let by_get = match parts.method {
        Method::POST => false,
        Method::GET | Method::HEAD => true,
        ref other => return Err(Rejection::Method(other.clone())),
    };
    // Only this type makes a browser ask first (CORS preflight) before it sends another site's request.
    if !by_get && !is_json(&parts.headers) {
        return Err(Rejection::ContentType);
    }
    let data = transport.gate.request(parts).await?;
    let quota = Quota::of(&data);
    let parameters = if by_get {
        Parameters::from_query_string(parts.uri.query().unwrap_or_default())?
    } else {
        let body = read(&parts.headers, body, transport.settings.max_body).await?;
        Parameters::from_json(&body)?
    };
    let mut request = async_graphql::Request::from(parameters);
    request.data = data;
    tokens::check(&request.query, transport.settings.max_tokens)?;
    let document = transport
        .documents
        .parse(&mut request)
        .map_err(Rejection::Document)?;
    if by_get {
        match operation_type(document.tree(), request.operation_name.as_deref()) {
            Some(OperationType::Query) | None => {}
            Some(other) => return Err(Rejection::NotAQuery(other)),
        }
    }
    let span = spans::operation(&mut request);
    let mut response = transport.executor.execute(request).instrument(span).await;
    if let Some(quota) = quota {
        quota.write(&mut response.http_headers);
    }
    Ok(response)
}

/// The kind of the operation that would run; `None` where the executor will say that there is no such one.
pub(super) fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Option<OperationType> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(known, _)| known.is_some_and(|known| known == name)),
        None => operations.next(),
    };
    found.map(|(_, operation)| operation.node.ty)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Rejection> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if announced > limit {
        return Err(Rejection::TooLong(limit));
    }
    let mut bytes = Vec::with_capacity(announced);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Rejection::Broken)?;
        if bytes.len() + chunk.len() > limit {
            return Err(Rejection::TooLong(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn executed(media: MediaType, mut response: GraphqlResponse) -> Response {
    give_codes(&mut response.errors);
    let headers = std::mem::take(&mut response.http_headers);
    let mut answer = if is_request_error(&response) {
        let status = match media {
            MediaType::Json => StatusCode::OK,
            MediaType::GraphqlResponse => response
                .errors
                .first()
                .and_then(ErrorCode::of)
                .unwrap_or(ErrorCode::BadRequest)
                .status(),
        };
        without_data(media, status, response.errors)
    } else {
        let body = serde_json::to_vec(&response).expect("GraphQL values are always JSON");
        respond(media, StatusCode::OK, body)
    };
    answer.headers_mut().extend(headers);
    answer
}

fn rejected(media: MediaType, rejection: Rejection) -> Response {
    let code = match &rejection {
        Rejection::Refused(refusal) => refusal.code,
        Rejection::TooLong(_) => ErrorCode::LimitExceeded,
        _ => ErrorCode::BadRequest,
    };
    let status = match (&rejection, media) {
        (Rejection::Method(_) | Rejection::NotAQuery(_), _) => StatusCode::METHOD_NOT_ALLOWED,
        (Rejection::NotAcceptable, _) => StatusCode::NOT_ACCEPTABLE,
        (Rejection::ContentType, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (Rejection::TooLong(_), _) => StatusCode::PAYLOAD_TOO_LARGE,
        (Rejection::Document(_), MediaType::Json) => StatusCode::OK,
        _ => code.status(),
    };
    let mut headers = HeaderMap::new();
    match &rejection {
        Rejection::Method(_) => {
            headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
        }
        Rejection::NotAQuery(_) => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Rejection::Refused(refusal) => refusal_headers(refusal, &mut headers),
        _ => {}
    }
    let errors = match rejection {
        Rejection::Document(error) => vec![error],
        other => Refusal::new(code, other.to_string()).into_response().errors,
    };
    let mut answer = without_data(media, status, errors);
    answer.headers_mut().extend(headers);
    answer
}

fn refusal_headers(refusal: &Refusal, headers: &mut HeaderMap) {
    if refusal.code == ErrorCode::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(quota::seconds(wait)));
    }
    if let Some(quota) = &refusal.quota {
        quota.write(headers);
    }
}

/// The response to a request that did not execute: it must not have a `data` entry.
fn without_data(media: MediaType, status: StatusCode, mut errors: Vec<ServerError>) -> Response {
    give_codes(&mut errors);
    let body = serde_json::to_vec(&serde_json::json!({ "errors": errors }))
        .expect("GraphQL errors are always JSON");
    respond(media, status, body)
}

fn respond(media: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    // What one user sees must not reach another from a cache on the way.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
