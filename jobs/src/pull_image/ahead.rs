//! What a pull needs to know and nobody has to be the job's worker for, read while the job is being claimed: the claim
//! waits for the database, these for the registry and the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::DbErr;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use uuid::Uuid;
use wharfinger_entity::ImageReference;

use super::resolve;
use crate::attempt::WorkerContext;
use crate::engine::EngineError;
use crate::engine_images::lock::{self, Observation};
use crate::holdings::publication;
use crate::registry::{Manifest, RegistryError};

/// Reads that are under way. Dropped, they stop.
pub(crate) struct Ahead {
    /// As the queue told it: what was read is worth nothing for a job of another reference.
    pub(crate) reference: String,
    /// What the reference means upstream, asked as nobody: whose job it is, and with which login, the claim tells.
    pub(super) manifest: AbortOnDropHandle<Result<Manifest, RegistryError>>,
    /// What the engine has.
    pub(super) look: AbortOnDropHandle<Option<Look>>,
    /// Whether the reference was public on this host a moment ago.
    pub(super) public: AbortOnDropHandle<Result<bool, DbErr>>,
}

/// How old what was read may be when it is used: what somebody does to the engine by hand meanwhile is taken for ours.
pub(crate) const FRESH: Duration = Duration::from_millis(250);

/// What the engine had of the image that the reference meant last time.
pub(super) struct Look {
    image_id: String,
    seen: Observation,
    since: Instant,
}

impl Look {
    /// What was seen, if it was of this image and just now.
    pub(super) fn of(self, image_id: &str) -> Option<Observation> {
        (self.image_id == image_id && self.since.elapsed() < FRESH).then_some(self.seen)
    }
}

impl Ahead {
    /// Begins to read for a pull of `reference` on a host; none if it cannot be read.
    pub(crate) fn begin(
        parts: &Arc<WorkerContext>,
        host_id: Uuid,
        reference: String,
    ) -> Option<Self> {
        let parsed: ImageReference = reference.parse().ok()?;
        let manifest = {
            let parts = Arc::clone(parts);
            AbortOnDropHandle::new(tokio::spawn(
                async move { resolve::read(&parts, &parsed, None).await }.in_current_span(),
            ))
        };
        let look = {
            let (parts, reference) = (Arc::clone(parts), reference.clone());
            let looking = async move {
                let since = Instant::now();
                let (image_id, version) = lock::last_meant(&parts.services, host_id, &reference)
                    .await
                    .ok()??;
                let looking = look(&parts, &image_id, &reference, version, true);
                let seen = looking.await.ok()?;
                Some(Look {
                    image_id,
                    seen,
                    since,
                })
            };
            AbortOnDropHandle::new(tokio::spawn(looking.in_current_span()))
        };
        let public = {
            let (parts, reference) = (Arc::clone(parts), reference.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let db = parts.services.db.read();
                let image = publication::of_reference(db, host_id, &reference).await?;
                Ok(image.is_some())
            }))
        };
        Some(Self {
            reference,
            manifest,
            look,
            public,
        })
    }
}

/// What the engine has now; `version` was read before, and whether the reference was `recorded` for the image then.
pub(super) async fn look(
    parts: &WorkerContext,
    image_id: &str,
    reference: &str,
    version: i64,
    recorded: bool,
) -> Result<Observation, EngineError> {
    let tag_means = parts.engine.inspect(reference).await?.map(|image| image.id);
    // An image that has the tag is there: asking for it by its id as well would make every pull wait for the engine twice.
    let present =
        tag_means.as_deref() == Some(image_id) || parts.engine.inspect(image_id).await?.is_some();
    Ok(Observation {
        version,
        present,
        tag_means,
        recorded,
    })
}
