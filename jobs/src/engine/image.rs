//! Images as the engine describes them.

use bollard::models::{ImageDeleteResponseItem, ImageInspect, ImageSummary};

use super::EngineError;

/// An image on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImage {
    /// `sha256:…`
    pub id: String,
    /// Unpacked bytes.
    pub size: u64,
    /// As the image declares them, lowest port first and `tcp` before `udp`: `6379/tcp`.
    pub exposed_ports: Vec<String>,
    /// `linux/amd64`, or with a variant `linux/arm/v7`.
    pub platform: String,
    /// The names that mean it, in the engine's familiar form (see [`same_reference`](super::same_reference)).
    pub repo_tags: Vec<String>,
    /// The manifest digests that it was pulled by, in the same form: `redis@sha256:…`.
    pub repo_digests: Vec<String>,
}

impl EngineImage {
    pub(super) fn describe(image: ImageInspect) -> Result<Self, EngineError> {
        let lacks = |what: &str| EngineError::Other {
            message: format!("the engine described an image without its {what}"),
            source: None,
        };
        let id = image.id.ok_or_else(|| lacks("id"))?;
        let size = image.size.and_then(|size| u64::try_from(size).ok());
        let config = image.config.unwrap_or_default();
        let mut exposed_ports = config.exposed_ports.unwrap_or_default();
        exposed_ports.sort_by_cached_key(|port| port_order(port));
        Ok(Self {
            id,
            size: size.ok_or_else(|| lacks("size"))?,
            exposed_ports,
            platform: platform(image.os, image.architecture, image.variant),
            repo_tags: real_names(image.repo_tags.unwrap_or_default()),
            repo_digests: real_names(image.repo_digests.unwrap_or_default()),
        })
    }
}

/// An image in the engine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImageSummary {
    /// `sha256:…`
    pub id: String,
    /// The names that mean it, in the engine's familiar form.
    pub repo_tags: Vec<String>,
    /// The manifest digests that it was pulled by, in the same form.
    pub repo_digests: Vec<String>,
}

impl EngineImageSummary {
    pub(super) fn describe(image: ImageSummary) -> Self {
        Self {
            id: image.id,
            repo_tags: real_names(image.repo_tags),
            repo_digests: real_names(image.repo_digests),
        }
    }
}

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The name is gone; the image stays.
    Untagged,
    /// The image is gone.
    Deleted,
    /// There was no such name or image.
    AlreadyGone,
}

impl Removed {
    pub(super) fn of(items: &[ImageDeleteResponseItem]) -> Self {
        if items.iter().any(|item| item.deleted.is_some()) {
            Self::Deleted
        } else {
            Self::Untagged
        }
    }
}

/// `8000-8010/udp` comes by its first port. Docker takes a port without protocol for `tcp`.
fn port_order(port: &str) -> (u32, u8, String) {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let first = number.split('-').next().unwrap_or(number);
    let protocol_rank = match protocol {
        "tcp" => 0,
        "udp" => 1,
        _ => 2,
    };
    (
        first.parse().unwrap_or(u32::MAX),
        protocol_rank,
        port.to_owned(),
    )
}

/// Longest platform that is kept, in characters.
const MAX_PLATFORM: usize = 64;

/// `os/architecture[/variant]`; images made by hand may say none of it.
fn platform(os: Option<String>, architecture: Option<String>, variant: Option<String>) -> String {
    let or_unknown = |part: Option<String>| {
        part.filter(|part| !part.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let mut platform = format!("{}/{}", or_unknown(os), or_unknown(architecture));
    if let Some(variant) = variant.filter(|variant| !variant.is_empty()) {
        platform.push('/');
        platform.push_str(&variant);
    }
    // An image may say anything of itself, and this is stored.
    platform.chars().take(MAX_PLATFORM).collect()
}

/// Without the placeholders by which old engines list an image that has no name.
fn real_names(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.contains("<none>"));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ImageConfig;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn ports_come_lowest_first_and_tcp_before_udp() {
        let ports = [
            "9000/tcp",
            "53/udp",
            "53/tcp",
            "53/sctp",
            "800-810/udp",
            "443",
        ];
        let image = ImageInspect {
            id: Some("sha256:1".into()),
            size: Some(7),
            os: Some("linux".into()),
            architecture: Some("arm".into()),
            variant: Some("v7".into()),
            config: Some(ImageConfig {
                exposed_ports: Some(owned(&ports)),
                ..Default::default()
            }),
            repo_tags: Some(owned(&["<none>:<none>", "redis:7"])),
            repo_digests: Some(owned(&["<none>@<none>"])),
            ..Default::default()
        };
        let image = EngineImage::describe(image).unwrap();
        let sorted = [
            "53/tcp",
            "53/udp",
            "53/sctp",
            "443",
            "800-810/udp",
            "9000/tcp",
        ];
        assert_eq!(image.exposed_ports, sorted);
        assert_eq!(image.platform, "linux/arm/v7");
        assert_eq!(image.repo_tags, ["redis:7"]);
        assert!(image.repo_digests.is_empty());
    }

    #[test]
    fn an_image_without_id_or_size_is_refused_and_one_without_platform_is_not() {
        assert!(EngineImage::describe(ImageInspect::default()).is_err());
        let image = ImageInspect {
            id: Some("sha256:1".into()),
            size: Some(-1),
            ..Default::default()
        };
        assert!(EngineImage::describe(image.clone()).is_err());
        let image = EngineImage::describe(ImageInspect {
            size: Some(0),
            ..image
        })
        .unwrap();
        assert_eq!(image.platform, "unknown/unknown");
    }
}
