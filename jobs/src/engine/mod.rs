//! The Docker engine of a host: what Wharfinger asks of it, and no more. Nothing is ever forced.
//!
//! A call passes through `connection`, which dials when first used and agrees on a version of the API; its answer is
//! turned into the types of `image` and `info`, its refusal into an [`EngineError`] by `error`. Every call has a
//! deadline, except [`Engine::pull`], whose caller watches for stalls.

mod connection;
mod departures;
mod error;
mod image;
mod info;
mod names;
mod pull;
mod span;

use std::collections::HashSet;
use std::time::Duration;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};

use wharfinger_entity::{CleanText, Digest};

use connection::Connection;
pub use error::EngineError;
pub use image::{EngineImage, EngineImageSummary, EngineName, PlatformName, Removed};
pub use info::{EngineInfo, ImageStore};
pub use names::{PullName, same_reference};
pub use pull::{EngineLogin, LayerStep, PullEvent};

/// Deadline of the call that asks whether the engine lives.
const PING: Duration = Duration::from_secs(5);

/// Deadline of calls that only look.
pub(crate) const LOOK: Duration = Duration::from_secs(15);

/// Deadline of calls that delete: an engine takes its time with large layers on slow disks.
pub(crate) const REMOVE: Duration = Duration::from_mins(1);

/// A Docker engine. Cheap to clone; clones share the version of the API that was agreed on.
#[derive(Clone, Debug)]
pub struct Engine {
    connection: Connection,
}

impl Engine {
    /// An engine at `unix://…`, `tcp://…` or `http://…`; at the usual socket when none is given. Nothing is dialled
    /// before the first call, so the engine may still be down.
    pub fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        Ok(Self {
            connection: Connection::new(docker_host)?,
        })
    }

    /// Whether the engine answers.
    pub async fn ping(&self) -> Result<(), EngineError> {
        let ping = |docker: bollard::Docker| async move { docker.ping().await };
        let asking = self.connection.call(PING, ping);
        self.connection
            .traced("GET", "/_ping", asking)
            .await
            .map(|_| ())
    }

    /// The engine's kind and platform, and the state of the file system of its images.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let ask = |docker: bollard::Docker| async move {
            tokio::try_join!(docker.version(), docker.info())
        };
        let asking = self.connection.call(LOOK, ask);
        let (version, info) = self.connection.traced("GET", "/info", asking).await?;
        let mut info = EngineInfo::describe(&version, info);
        if self.connection.is_socket() {
            info.measure_storage(LOOK).await;
        }
        Ok(info)
    }

    /// The image that an id or a name means; none if the engine has no such image.
    pub async fn inspect(&self, id_or_reference: &str) -> Result<Option<EngineImage>, EngineError> {
        names::check(id_or_reference)?;
        let inspect =
            |docker: bollard::Docker| async move { docker.inspect_image(id_or_reference).await };
        let looking = self.connection.call(LOOK, inspect);
        match self
            .connection
            .traced("GET", "/images/{name}/json", looking)
            .await
        {
            Ok(image) => EngineImage::describe(image).map(Some),
            Err(EngineError::NotFound(_)) => Ok(None),
            // What moby's layer store says of an image that is being deleted at this moment (`layer/layer.go`).
            Err(EngineError::Other { message, .. }) if message == "layer does not exist" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Every image of the engine. With untagged and intermediate ones: what is missing here is not there.
    pub async fn list(&self) -> Result<Vec<EngineImageSummary>, EngineError> {
        let list = |docker: bollard::Docker| async move {
            let options = ListImagesOptionsBuilder::new().all(true).build();
            docker.list_images(Some(options)).await
        };
        let looking = self.connection.call(LOOK, list);
        let images = self
            .connection
            .traced("GET", "/images/json", looking)
            .await?;
        Ok(images
            .into_iter()
            .filter_map(EngineImageSummary::describe)
            .collect())
    }

    /// The names of the containers, running or not, that were made of exactly this image. The engine's own filter
    /// `ancestor` would also give those of images built on it.
    pub async fn containers_using(
        &self,
        image_id: &str,
    ) -> Result<Vec<CleanText<128>>, EngineError> {
        let list = |docker: bollard::Docker| async move {
            let options = ListContainersOptionsBuilder::new().all(true).build();
            docker.list_containers(Some(options)).await
        };
        let looking = self.connection.call(LOOK, list);
        let containers = self
            .connection
            .traced("GET", "/containers/json", looking)
            .await?;
        Ok(containers
            .into_iter()
            .filter(|container| container.image_id.as_deref() == Some(image_id))
            .map(|container| {
                let name = container.names.unwrap_or_default().into_iter().next();
                let name = name.or(container.id).unwrap_or_default();
                name.trim_start_matches('/').into()
            })
            .collect())
    }

    /// The ids of the images that containers, running or not, were made of.
    pub async fn images_in_use(&self) -> Result<HashSet<Digest>, EngineError> {
        let list = |docker: bollard::Docker| async move {
            let options = ListContainersOptionsBuilder::new().all(true).build();
            docker.list_containers(Some(options)).await
        };
        let containers = self.connection.call(LOOK, list).await?;
        Ok(containers
            .into_iter()
            .filter_map(|container| Digest::parse(&container.image_id?).ok())
            .collect())
    }

    /// Takes a name off its image. The engine deletes an image with its last name, and refuses that with
    /// [`EngineError::InUse`] while a container uses it.
    pub async fn untag(&self, reference: &str) -> Result<Removed, EngineError> {
        names::check_tagged(reference)?;
        self.remove(reference).await
    }

    /// Deletes an image by its id, with its name if it has but one. [`EngineError::Conflict`] if it has several or
    /// others are built on it, [`EngineError::InUse`] if a container uses it.
    pub async fn remove_by_id(&self, image_id: &str) -> Result<Removed, EngineError> {
        names::check_id(image_id)?;
        self.remove(image_id).await
    }

    async fn remove(&self, id_or_reference: &str) -> Result<Removed, EngineError> {
        let remove = |docker: bollard::Docker| async move {
            let options = RemoveImageOptionsBuilder::new()
                .force(false)
                .noprune(false)
                .build();
            docker
                .remove_image(id_or_reference, Some(options), None)
                .await
        };
        let removing = self.connection.call(REMOVE, remove);
        match self
            .connection
            .traced("DELETE", "/images/{name}", removing)
            .await
        {
            Ok(items) => Ok(Removed::of(&items)),
            Err(EngineError::NotFound(_)) => Ok(Removed::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Gives an image a name, and takes that name from whichever image had it.
    pub async fn tag(
        &self,
        image_id: &str,
        repository: &str,
        tag: &str,
    ) -> Result<(), EngineError> {
        names::check_id(image_id)?;
        let set = |docker: bollard::Docker| async move {
            let options = TagImageOptionsBuilder::new()
                .repo(repository)
                .tag(tag)
                .build();
            docker.tag_image(image_id, Some(options)).await
        };
        let setting = self.connection.call(LOOK, set);
        self.connection
            .traced("POST", "/images/{name}/tag", setting)
            .await
    }
}
