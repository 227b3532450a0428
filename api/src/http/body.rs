//! Reading a request's parameters from its body.

use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, header},
};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

use super::{
    TransportSettings,
    parameters::{Body, Parameters},
    preflight::Encoding,
    rejection::Rejection,
};

/// How long a body may take: nobody holds memory for ever by sending all but the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a body that is written so.
pub(super) async fn read(
    headers: &HeaderMap,
    body: HttpBody,
    encoding: Encoding,
    settings: &TransportSettings,
) -> Result<Body, Rejection> {
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Rejection::ContentEncoding);
    }
    let bytes = bytes(headers, body, settings.max_body).await?;
    Ok(match encoding {
        Encoding::Json => Body::from_json(&bytes, settings.max_batch > 0)?,
        Encoding::Form => Body::One(Parameters::from_form(&bytes)?),
    })
}

async fn bytes(headers: &HeaderMap, body: HttpBody, limit: usize) -> Result<Vec<u8>, Rejection> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if announced > limit {
        return Err(Rejection::TooLong(limit));
    }
    let mut bytes = Vec::with_capacity(announced);
    let mut chunks = body.into_data_stream();
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Rejection::Broken)?;
            if bytes.len() + chunk.len() > limit {
                return Err(Rejection::TooLong(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    timeout(PATIENCE, reading)
        .await
        .map_err(|_| Rejection::TooSlow)??;
    Ok(bytes)
}
