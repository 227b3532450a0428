//! Pulling: the engine's events, one by one.

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::{Engine, EngineError, PullName};

/// Something that happened to a layer, or to the pull as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullEvent {
    /// The engine's short id of the layer, or the tag at the beginning of a pull.
    pub id: Option<String>,
    /// What happened, in the engine's words.
    pub status: String,
    /// Bytes so far.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

impl Engine {
    /// Lets the engine pull. Dropping the stream cancels the pull: the engine ends it with the request.
    pub fn pull(
        &self,
        name: &PullName,
    ) -> impl Stream<Item = Result<PullEvent, EngineError>> + Send + 'static {
        let engine = self.clone();
        let options = CreateImageOptions {
            from_image: Some(name.name.clone()),
            tag: Some(name.reference.clone()),
            ..Default::default()
        };
        futures::stream::once(async move {
            let docker = engine.docker().await?.clone();
            let events = docker
                .create_image(Some(options), None, None)
                .map_err(EngineError::from);
            Ok::<_, EngineError>(events.map_ok(event).boxed())
        })
        .try_flatten()
        .boxed()
    }
}

fn event(info: CreateImageInfo) -> PullEvent {
    let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let detail = info.progress_detail;
    PullEvent {
        id: info.id,
        status: info.status.unwrap_or_default(),
        current: bytes(detail.as_ref().and_then(|detail| detail.current)),
        total: bytes(detail.as_ref().and_then(|detail| detail.total)),
    }
}
