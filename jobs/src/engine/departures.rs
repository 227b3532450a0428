//! Hearing of images that go, as it happens.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use wharfinger_entity::Digest;

use super::{Engine, EngineError, LOOK};

/// How far back is listened: an engine answers a little before it begins to take note, and its clock may differ a little.
const OVERLAP: Duration = Duration::from_secs(5);

impl Engine {
    /// The ids of images that lose a name or are deleted, by any client, from just before the first poll until the engine
    /// goes away. An id may come more than once, and an image that goes usually comes twice.
    ///
    /// Does not report names that are set: every pull sets one, and no holding is lost by it.
    pub fn departures(&self) -> BoxStream<'static, Result<Digest, EngineError>> {
        let connection = self.connection.clone();
        let on_error = self.connection.clone();
        stream::once(async move {
            let docker = connection.client().await?.with_timeout(LOOK);
            let filters =
                HashMap::from([("type", vec!["image"]), ("event", vec!["delete", "untag"])]);
            let options = EventsOptionsBuilder::new()
                .since(&seconds_ago(OVERLAP))
                .filters(&filters)
                .build();
            let events = docker.events(Some(options)).map_err(EngineError::from);
            Ok::<_, EngineError>(events.boxed())
        })
        .try_flatten()
        .try_filter_map(|event| future::ready(Ok(image_id(event))))
        .inspect_err(move |error| on_error.forget_if_gone(error))
        .boxed()
    }
}

/// An instant as the engine reads it: seconds since the epoch.
fn seconds_ago(ago: Duration) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(ago).as_secs().to_string()
}

/// The image that an event is about.
fn image_id(event: EventMessage) -> Option<Digest> {
    let id = event.actor.and_then(|actor| actor.id)?;
    Digest::parse(&id).ok()
}
