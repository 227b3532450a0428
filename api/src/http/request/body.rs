//! Reads a request's parameters from its body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, HttpBody as _};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::parameters::{Body, Parameters};
use super::preflight::Encoding;
use crate::http::rejection::Rejection;
use crate::http::response::error::{ErrorCode, Refusal};
use crate::http::transport::TransportSettings;

/// How long a body may take, so that a client cannot hold memory by sending all but the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest body of an unknown caller that needs no room, in bytes. Signing in needs less.
const SMALL: usize = 16 << 10;

/// `Retry-After` for a longer body of an unknown caller that found no room.
const LATER: Duration = Duration::from_secs(5);

/// The memory that the longer bodies of all unknown callers may take together.
pub(crate) struct Room(Arc<Semaphore>);

/// The part of a [`Room`] that one body has, until it is dropped.
#[derive(Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Room {
    /// A room of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Takes more bytes for a body. Fails with 503 and `Retry-After` where the room has too few.
    fn take(&self, share: &mut Share, bytes: usize) -> Result<(), Rejection> {
        let no_room = || {
            let message = format!(
                "the gateway has no room for more requests of over {SMALL} bytes from callers that it does not know yet: try again later"
            );
            Refusal::new(ErrorCode::Unavailable, message).retry_after(LATER)
        };
        let bytes = u32::try_from(bytes).map_err(|_| no_room())?;
        let taken = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        let taken = taken.map_err(|_| no_room())?;
        match &mut share.0 {
            Some(share) => share.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

/// Reads a body in this encoding. The body of an unknown caller takes memory of `room`; keep its share until the caller is
/// known. Fails where the body is too long, too slow, or does not fit into the room.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: HttpBody,
    encoding: Encoding,
    settings: &TransportSettings,
    room: Option<&Room>,
) -> Result<(Body, Share), Rejection> {
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Rejection::ContentEncoding);
    }
    let mut share = Share::default();
    let bytes = bytes(body, settings.max_body, room, &mut share).await?;
    let body = match encoding {
        Encoding::Json => Body::from_json(&bytes, settings.max_batch > 0)?,
        Encoding::Form => Body::One(Parameters::from_form(&bytes)?),
    };
    Ok((body, share))
}

async fn bytes(
    body: HttpBody,
    limit: usize,
    room: Option<&Room>,
    share: &mut Share,
) -> Result<Vec<u8>, Rejection> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
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
            if let Some(room) = room.filter(|_| bytes.len() + chunk.len() > SMALL) {
                room.take(share, chunk.len())?;
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let read = timeout(PATIENCE, reading).await;
    read.map_err(|_| Rejection::TooSlow)??;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body of so many bytes of an unknown caller.
    async fn read_unknown(room: &Room, bytes: usize) -> Result<Share, Rejection> {
        let mut share = Share::default();
        let body = HttpBody::from(vec![b' '; bytes]);
        super::bytes(body, 1 << 20, Some(room), &mut share).await?;
        Ok(share)
    }

    #[tokio::test]
    async fn long_bodies_of_unknown_callers_share_a_room() {
        let room = Room::new(3 * SMALL);
        let first = read_unknown(&room, 2 * SMALL).await.unwrap();
        let refused = read_unknown(&room, 2 * SMALL).await.err().unwrap();
        let Rejection::Refused(refusal) = refused else {
            panic!("{refused}");
        };
        assert_eq!(refusal.code, ErrorCode::Unavailable);
        assert_eq!(refusal.retry_after, Some(LATER));
        // Signing in still works.
        read_unknown(&room, SMALL).await.unwrap();
        drop(first);
        read_unknown(&room, 2 * SMALL).await.unwrap();
    }
}
