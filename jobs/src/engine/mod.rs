//! The Docker engine of a host, by its API: what Wharfinger asks of it and no more. Nothing is ever forced.

mod error;
mod names;
mod pull;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions,
};
use tokio::sync::OnceCell;

pub use error::EngineError;
pub use names::{PullName, same_reference};
pub use pull::PullEvent;

/// Deadline of a call that only looks.
const LOOK: Duration = Duration::from_secs(10);

/// Deadline of a call that deletes: an engine takes its time with large layers on slow disks.
const CHANGE: Duration = Duration::from_secs(60);

/// Where an engine listens when nothing says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A Docker engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    negotiated: Arc<OnceCell<()>>,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Version, as `20.10.24+dfsg1`.
    pub version: String,
    /// Operating system, as `linux`.
    pub os: String,
    /// Architecture as the engine calls it: `x86_64`.
    pub architecture: String,
    /// Variant of the architecture, if it has one.
    pub variant: Option<String>,
    /// Bytes used on the file system of the images; none where it cannot be seen from here.
    pub storage_used: Option<u64>,
    /// Bytes of that file system.
    pub storage_total: Option<u64>,
}

impl EngineInfo {
    /// As images spell it: `linux/amd64`.
    pub fn platform(&self) -> String {
        crate::registry::Platform::new(&self.os, &self.architecture, self.variant.as_deref())
            .to_string()
    }
}

/// An image on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImage {
    /// `sha256:…`
    pub id: String,
    /// Unpacked bytes.
    pub size: u64,
    /// As the image declares them, lowest port first: `6379/tcp`.
    pub exposed_ports: Vec<String>,
    /// `linux/amd64`
    pub platform: String,
    /// The names that mean it, in the engine's own short form.
    pub repo_tags: Vec<String>,
    /// The manifest digests that it was pulled by.
    pub repo_digests: Vec<String>,
}

/// An image in the engine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImageSummary {
    /// `sha256:…`
    pub id: String,
    /// The names that mean it, in the engine's own short form.
    pub repo_tags: Vec<String>,
}

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was there and is gone.
    Removed,
    /// It was gone already.
    AlreadyGone,
}

impl Engine {
    /// An engine at `unix://…`, `tcp://…` or `http://…`; the usual socket when none is given. Connects when first used.
    pub fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let docker = Docker::connect_with_host(docker_host.unwrap_or(DEFAULT_HOST))
            .map_err(EngineError::from)?;
        Ok(Self {
            docker,
            negotiated: Arc::new(OnceCell::new()),
        })
    }

    /// The client, speaking a version of the API that this engine knows.
    async fn docker(&self) -> Result<&Docker, EngineError> {
        self.negotiated
            .get_or_try_init(|| async {
                within(LOOK, self.docker.clone().negotiate_version())
                    .await
                    .map(|_| ())
            })
            .await?;
        Ok(&self.docker)
    }

    /// Whether the engine answers.
    pub async fn ping(&self) -> Result<(), EngineError> {
        within(LOOK, self.docker().await?.ping()).await.map(|_| ())
    }

    /// Who the engine is, and how full its storage. Also agrees anew on the version of the API, since an engine may have
    /// been replaced by an older one.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let docker = within(LOOK, self.docker.clone().negotiate_version()).await?;
        let _ = self.negotiated.set(());
        let info = within(LOOK, docker.info()).await?;
        let (storage_used, storage_total) = info
            .docker_root_dir
            .as_deref()
            .and_then(storage)
            .map_or((None, None), |(used, total)| (Some(used), Some(total)));
        Ok(EngineInfo {
            version: info.server_version.unwrap_or_default(),
            os: info.os_type.unwrap_or_else(|| "linux".into()),
            architecture: info
                .architecture
                .unwrap_or_else(|| std::env::consts::ARCH.into()),
            variant: None,
            storage_used,
            storage_total,
        })
    }

    /// The image that an id or a name means; none if there is none.
    pub async fn inspect(&self, id_or_name: &str) -> Result<Option<EngineImage>, EngineError> {
        match within(LOOK, self.docker().await?.inspect_image(id_or_name)).await {
            Ok(image) => describe(image).map(Some),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every image that has a name or a container may use; no intermediate ones.
    pub async fn list(&self) -> Result<Vec<EngineImageSummary>, EngineError> {
        let images = within(
            LOOK,
            self.docker().await?.list_images(None::<ListImagesOptions>),
        )
        .await?;
        Ok(images
            .into_iter()
            .map(|image| EngineImageSummary {
                id: image.id,
                repo_tags: real_names(image.repo_tags),
            })
            .collect())
    }

    /// The names of the containers, running or not, that were made of exactly this image.
    pub async fn containers_using(&self, image_id: &str) -> Result<Vec<String>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            ..Default::default()
        };
        let containers = within(LOOK, self.docker().await?.list_containers(Some(options))).await?;
        Ok(containers
            .into_iter()
            .filter(|container| container.image_id.as_deref() == Some(image_id))
            .map(|container| {
                let name = container.names.unwrap_or_default().into_iter().next();
                name.map(|name| name.trim_start_matches('/').to_owned())
                    .or(container.id)
                    .unwrap_or_default()
            })
            .collect())
    }

    /// Takes a name off its image. The engine deletes an image with its last name.
    pub async fn untag(&self, reference: &str) -> Result<Removed, EngineError> {
        self.remove(reference).await
    }

    /// Deletes an image with at most one name. An image with several names is a [`EngineError::Conflict`], one that a
    /// container uses [`EngineError::InUse`].
    pub async fn remove_by_id(&self, image_id: &str) -> Result<Removed, EngineError> {
        self.remove(image_id).await
    }

    async fn remove(&self, id_or_name: &str) -> Result<Removed, EngineError> {
        let options = RemoveImageOptions {
            force: false,
            noprune: false,
            ..Default::default()
        };
        match within(
            CHANGE,
            self.docker()
                .await?
                .remove_image(id_or_name, Some(options), None),
        )
        .await
        {
            Ok(_) => Ok(Removed::Removed),
            Err(EngineError::NotFound(_)) => Ok(Removed::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Gives an image a name, taking it from whichever image had it.
    pub async fn tag(
        &self,
        image_id: &str,
        repository: &str,
        tag: &str,
    ) -> Result<(), EngineError> {
        let options = TagImageOptions {
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
        };
        within(
            LOOK,
            self.docker().await?.tag_image(image_id, Some(options)),
        )
        .await
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer.map_err(EngineError::from),
        Err(_) => Err(EngineError::Unavailable {
            message: format!(
                "the Docker engine did not answer within {}",
                humantime::format_duration(deadline)
            ),
            source: None,
        }),
    }
}

fn describe(image: ImageInspect) -> Result<EngineImage, EngineError> {
    let other = |message: &str| EngineError::Other {
        message: message.to_owned(),
    };
    let id = image
        .id
        .ok_or_else(|| other("the engine described an image without an id"))?;
    let size = image.size.and_then(|size| u64::try_from(size).ok());
    let mut exposed_ports = image
        .config
        .and_then(|config| config.exposed_ports)
        .unwrap_or_default();
    exposed_ports.sort_by_key(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        (
            number.parse::<u32>().unwrap_or(u32::MAX),
            protocol.to_owned(),
        )
    });
    let platform = crate::registry::Platform::new(
        image.os.as_deref().unwrap_or("linux"),
        image.architecture.as_deref().unwrap_or_default(),
        image.variant.as_deref(),
    );
    Ok(EngineImage {
        id,
        size: size.ok_or_else(|| other("the engine described an image without its size"))?,
        exposed_ports,
        platform: platform.to_string(),
        repo_tags: real_names(image.repo_tags.unwrap_or_default()),
        repo_digests: image.repo_digests.unwrap_or_default(),
    })
}

/// Without the placeholder by which old engines list an image that has no name.
fn real_names(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.contains("<none>"));
    names
}

/// Bytes used and in all on the file system of a directory; none where it is not on this machine.
fn storage(directory: &str) -> Option<(u64, u64)> {
    let file_system = rustix::fs::statvfs(directory).ok()?;
    let total = file_system.f_blocks.checked_mul(file_system.f_frsize)?;
    let free = file_system.f_bavail.checked_mul(file_system.f_frsize)?;
    Some((total.saturating_sub(free), total))
}
