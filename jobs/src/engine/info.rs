//! An engine's description of itself.

use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{SystemInfo, SystemVersion};
use wharfinger_entity::CleanText;

use super::image::PlatformName;

/// How an engine keeps images, which decides what it calls them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageStore {
    /// Docker's graph drivers. An image's id is the digest of its config.
    #[default]
    GraphDriver,
    /// Docker's containerd image store. An image's id is the digest of the manifest or index that was pulled.
    Containerd,
    /// Podman. An image's id is the digest of its config.
    Podman,
}

/// The kind of an engine, its platform, and the state of its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Version, as `20.10.24+dfsg1`.
    pub version: CleanText<64>,
    /// Operating system in the words of image indexes, as `linux`.
    pub os: CleanText<16>,
    /// Architecture in the words of image indexes, as `amd64`.
    pub architecture: CleanText<32>,
    /// Variant of a 32-bit ARM, as `v7`; none where the architecture says it all.
    pub variant: Option<&'static str>,
    /// Layers of an image that its storage takes, at most.
    pub max_layers: usize,
    /// How it keeps images.
    pub store: ImageStore,
    /// Directory of the engine's data, on the engine's machine.
    pub root_dir: Option<PathBuf>,
    /// Bytes used on the file system of the images; none where it cannot be seen from here.
    pub storage_used: Option<u64>,
    /// Bytes of that file system.
    pub storage_total: Option<u64>,
}

impl EngineInfo {
    pub(super) fn describe(version: &SystemVersion, info: SystemInfo) -> Self {
        // The version speaks Go's names, the info the kernel's, which alone tell variants.
        let kernel = info.architecture.clone().unwrap_or_default();
        let variant = match kernel.as_str() {
            "armv5l" | "armv5tel" => Some("v5"),
            "armv6l" => Some("v6"),
            "armv7l" => Some("v7"),
            _ => None,
        };
        let architecture = version.arch.as_deref().filter(|arch| !arch.is_empty());
        let os = version.os.as_deref().or(info.os_type.as_deref());
        let number = version
            .version
            .as_deref()
            .or(info.server_version.as_deref());
        let store = image_store(version, &info);
        Self {
            store,
            max_layers: max_layers(store),
            version: number.unwrap_or_default().into(),
            os: os.unwrap_or("linux").into(),
            variant: variant.filter(|_| architecture == Some("arm")),
            architecture: architecture.unwrap_or(&kernel).into(),
            root_dir: info
                .docker_root_dir
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
            storage_used: None,
            storage_total: None,
        }
    }

    /// As images spell it: `linux/amd64`, `linux/arm/v7`.
    pub fn platform(&self) -> PlatformName {
        let (os, architecture) = (&self.os, &self.architecture);
        match self.variant {
            Some(variant) => format!("{os}/{architecture}/{variant}").into(),
            None => format!("{os}/{architecture}").into(),
        }
    }

    /// Looks at the file system of the root directory. A process that shares the engine's socket but not its files
    /// learns nothing; nor does one whose file system does not answer in time.
    pub(super) async fn measure_storage(&mut self, deadline: Duration) {
        let Some(dir) = self.root_dir.clone() else {
            return;
        };
        let measured = tokio::task::spawn_blocking(move || rustix::fs::statvfs(dir));
        if let Ok(Ok(Ok(file_system))) = tokio::time::timeout(deadline, measured).await {
            let bytes = |blocks: u64| blocks.saturating_mul(file_system.f_frsize);
            let used = file_system.f_blocks.saturating_sub(file_system.f_bfree);
            // As `df` counts: what is kept for root is neither used nor to be had.
            let total = used.saturating_add(file_system.f_bavail);
            self.storage_used = Some(bytes(used));
            self.storage_total = Some(bytes(total));
        }
    }
}

/// Layers that moby's graph drivers accept (`layer/layer_store.go`, `maxLayerDepth`).
const GRAPH_DRIVER_LAYERS: usize = 125;

/// Layers that the kernel's overlay file system accepts (`fs/overlayfs/ovl_entry.h`, `OVL_MAX_STACK`); containerd's image store
/// and Podman have no limit of their own.
const OVERLAY_LAYERS: usize = 500;

fn max_layers(store: ImageStore) -> usize {
    match store {
        ImageStore::GraphDriver => GRAPH_DRIVER_LAYERS,
        ImageStore::Containerd | ImageStore::Podman => OVERLAY_LAYERS,
    }
}

/// Podman names itself among the components of its version; Docker names containerd's plugin in the status of its driver.
fn image_store(version: &SystemVersion, info: &SystemInfo) -> ImageStore {
    let mut components = version.components.iter().flatten();
    if components.any(|part| part.name == "Podman Engine") {
        return ImageStore::Podman;
    }
    let mut status = info.driver_status.iter().flatten().flatten();
    if status.any(|word| word.starts_with("io.containerd.snapshotter.")) {
        return ImageStore::Containerd;
    }
    ImageStore::GraphDriver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arch: &str, kernel: &str) -> EngineInfo {
        let version = SystemVersion {
            version: Some("20.10.24+dfsg1".into()),
            os: Some("linux".into()),
            arch: Some(arch.into()),
            ..Default::default()
        };
        let info = SystemInfo {
            architecture: Some(kernel.into()),
            docker_root_dir: Some("/".into()),
            ..Default::default()
        };
        EngineInfo::describe(&version, info)
    }

    #[test]
    fn platforms_are_spelled_as_images_do() {
        assert_eq!(of("amd64", "x86_64").platform(), "linux/amd64");
        assert_eq!(of("arm64", "aarch64").platform(), "linux/arm64");
        assert_eq!(of("arm", "armv7l").platform(), "linux/arm/v7");
        // A 32-bit engine on a 64-bit kernel.
        assert_eq!(of("arm", "aarch64").platform(), "linux/arm");
    }

    #[tokio::test]
    async fn storage_is_measured_where_the_directory_can_be_seen() {
        let mut info = of("amd64", "x86_64");
        info.measure_storage(Duration::from_secs(10)).await;
        let (used, total) = (info.storage_used.unwrap(), info.storage_total.unwrap());
        assert!(used > 0 && used <= total);
        let mut elsewhere = of("amd64", "x86_64");
        elsewhere.root_dir = Some("/no/such/directory".into());
        elsewhere.measure_storage(Duration::from_secs(10)).await;
        assert_eq!(elsewhere.storage_total, None);
    }
}
