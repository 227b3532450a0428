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

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};

use wharfinger_entity::{CleanText, Digest};

use connection::Connection;
pub use error::EngineError;
pub use image::{EngineImage, EngineImageSummary, EngineName, PlatformName};
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
        let ping = |docker: Docker| async move { docker.ping().await };
        self.ask("GET", "/_ping", PING, ping).await.map(|_| ())
    }

    /// The engine's kind and platform, and the state of the file system of its images.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let ask = |docker: Docker| async move { tokio::try_join!(docker.version(), docker.info()) };
        let (version, info) = self.ask("GET", "/info", LOOK, ask).await?;
        let mut info = EngineInfo::describe(&version, info);
        if self.connection.is_socket() {
            info.measure_storage(LOOK).await;
        }
        Ok(info)
    }

    /// The image that an id or a name means; none if the engine has no such image.
    pub async fn inspect(&self, id_or_reference: &str) -> Result<Option<EngineImage>, EngineError> {
        names::check(id_or_reference)?;
        let inspect = |docker: Docker| async move { docker.inspect_image(id_or_reference).await };
        match self.ask("GET", "/images/{name}/json", LOOK, inspect).await {
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
        let list = |docker: Docker| async move {
            let options = ListImagesOptionsBuilder::new().all(true).build();
            docker.list_images(Some(options)).await
        };
        let images = self.ask("GET", "/images/json", LOOK, list).await?;
        let images = images.into_iter();
        Ok(images.filter_map(EngineImageSummary::describe).collect())
    }

    /// The names of the containers, running or not, that were made of exactly this image. The engine's own filter
    /// `ancestor` would also give those of images built on it.
    pub async fn containers_using(
        &self,
        image_id: &str,
    ) -> Result<Vec<CleanText<128>>, EngineError> {
        let containers = self.containers().await?.into_iter();
        Ok(containers
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
        let containers = self.containers().await?.into_iter();
        Ok(containers
            .filter_map(|container| Digest::parse(&container.image_id?).ok())
            .collect())
    }

    async fn containers(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let list = |docker: Docker| async move {
            let options = ListContainersOptionsBuilder::new().all(true).build();
            docker.list_containers(Some(options)).await
        };
        self.ask("GET", "/containers/json", LOOK, list).await
    }

    /// Takes a name off its image, if there is such a name. The engine deletes an image with its last name, and refuses that
    /// with [`EngineError::InUse`] while a container uses it.
    pub async fn untag(&self, reference: &str) -> Result<(), EngineError> {
        names::check_tagged(reference)?;
        self.remove(reference).await
    }

    /// Deletes an image by its id, if it is there, with its name if it has but one. [`EngineError::Conflict`] if it has several or
    /// others are built on it, [`EngineError::InUse`] if a container uses it.
    pub async fn remove_by_id(&self, image_id: &str) -> Result<(), EngineError> {
        names::check_id(image_id)?;
        self.remove(image_id).await
    }

    async fn remove(&self, id_or_reference: &str) -> Result<(), EngineError> {
        let remove = |docker: Docker| async move {
            let options = RemoveImageOptionsBuilder::new()
                .force(false)
                .noprune(false)
                .build();
            docker
                .remove_image(id_or_reference, Some(options), None)
                .await
        };
        match self.ask("DELETE", "/images/{name}", REMOVE, remove).await {
            Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
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
        let set = |docker: Docker| async move {
            let options = TagImageOptionsBuilder::new()
                .repo(repository)
                .tag(tag)
                .build();
            docker.tag_image(image_id, Some(options)).await
        };
        self.ask("POST", "/images/{name}/tag", LOOK, set).await
    }
}
