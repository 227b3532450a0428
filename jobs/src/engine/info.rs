//! What an engine says of itself.

use std::time::Duration;

use bollard::models::{SystemInfo, SystemVersion};

/// What an engine is, and how full its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Version, as `20.10.24+dfsg1`.
    pub version: String,
    /// Operating system in the words of image indexes, as `linux`.
    pub os: String,
    /// Architecture in the words of image indexes, as `amd64`.
    pub architecture: String,
    /// Variant of a 32-bit ARM, as `v7`; none where the architecture says it all.
    pub variant: Option<String>,
    /// Directory of the engine's data, on the engine's machine.
    pub root_dir: Option<String>,
    /// Bytes used on the file system of the images; none where it cannot be seen from here.
    pub storage_used: Option<u64>,
    /// Bytes of that file system.
    pub storage_total: Option<u64>,
}

impl EngineInfo {
    pub(super) fn describe(version: SystemVersion, info: SystemInfo) -> Self {
        // The version speaks Go's names, the info the kernel's, which alone tell variants.
        let kernel = info.architecture.unwrap_or_default();
        let variant = match kernel.as_str() {
            "armv5l" | "armv5tel" => Some("v5"),
            "armv6l" => Some("v6"),
            "armv7l" => Some("v7"),
            _ => None,
        };
        let architecture = version.arch.filter(|arch| !arch.is_empty());
        Self {
            version: version.version.or(info.server_version).unwrap_or_default(),
            os: version
                .os
                .or(info.os_type)
                .unwrap_or_else(|| "linux".to_owned()),
            variant: variant
                .filter(|_| architecture.as_deref() == Some("arm"))
                .map(str::to_owned),
            architecture: architecture.unwrap_or(kernel),
            root_dir: info.docker_root_dir.filter(|dir| !dir.is_empty()),
            storage_used: None,
            storage_total: None,
        }
    }

    /// As images spell it: `linux/amd64`, `linux/arm/v7`.
    pub fn platform(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}/{}/{variant}", self.os, self.architecture),
            None => format!("{}/{}", self.os, self.architecture),
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
        EngineInfo::describe(version, info)
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
