//! Images as the engine describes them.

use bollard::models::{ImageInspect, ImageSummary};

use wharfinger_entity::{CleanText, Digest, ExposedPorts};

use super::EngineError;

/// A name of an image, in the engine's familiar form (see [`same_reference`](super::same_reference)).
pub type EngineName = CleanText<512>;

/// `linux/amd64`, `linux/arm/v7`.
pub type PlatformName = CleanText<64>;

/// An image on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImage {
    /// `sha256:…`
    pub id: Digest,
    /// Unpacked bytes.
    pub size: u64,
    /// As the image declares them.
    pub exposed_ports: ExposedPorts,
    /// `linux/amd64`, or with a variant `linux/arm/v7`.
    pub platform: PlatformName,
    /// The names that mean it.
    pub repo_tags: Vec<EngineName>,
    /// The manifest digests that it was pulled by: `redis@sha256:…`.
    pub repo_digests: Vec<EngineName>,
    /// The digests of its layers' uncompressed content, from the bottom up.
    pub diff_ids: Vec<String>,
}

impl EngineImage {
    pub(super) fn describe(image: ImageInspect) -> Result<Self, EngineError> {
        let lacks = |what: &str| {
            EngineError::other(format!("the engine described an image without its {what}"))
        };
        let id = image.id.as_deref().and_then(|id| Digest::parse(id).ok());
        let size = image.size.and_then(|size| u64::try_from(size).ok());
        let config = image.config.unwrap_or_default();
        // What is no digest is dropped: the number of layers differs then, and the image is not taken for the expected one.
        let layers = image.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
        let diff_ids = layers.iter().filter_map(|id| Digest::parse(id).ok());
        Ok(Self {
            id: id.ok_or_else(|| lacks("id"))?,
            size: size.ok_or_else(|| lacks("size"))?,
            exposed_ports: ExposedPorts::declared(config.exposed_ports.unwrap_or_default()),
            platform: platform(image.os, image.architecture, image.variant),
            repo_tags: real_names(image.repo_tags.unwrap_or_default()),
            repo_digests: real_names(image.repo_digests.unwrap_or_default()),
            diff_ids: diff_ids.map(|digest| digest.to_string()).collect(),
        })
    }
}

/// An image in the engine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImageSummary {
    /// `sha256:…`
    pub id: Digest,
    /// The names that mean it.
    pub repo_tags: Vec<EngineName>,
    /// The manifest digests that it was pulled by.
    pub repo_digests: Vec<EngineName>,
}

impl EngineImageSummary {
    /// None for what has no image id: Wharfinger pulled nothing like it.
    pub(super) fn describe(image: ImageSummary) -> Option<Self> {
        Some(Self {
            id: Digest::parse(&image.id).ok()?,
            repo_tags: real_names(image.repo_tags),
            repo_digests: real_names(image.repo_digests),
        })
    }
}

/// `os/architecture[/variant]`; images made by hand may say none of it.
fn platform(
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
) -> PlatformName {
    let part = |part: Option<String>| {
        part.map(CleanText::<32>::from)
            .filter(|part| !part.is_empty())
    };
    let or_unknown = |part: Option<CleanText<32>>| part.unwrap_or_else(|| "unknown".into());
    let mut platform = format!(
        "{}/{}",
        or_unknown(part(os)),
        or_unknown(part(architecture))
    );
    if let Some(variant) = part(variant) {
        platform.push('/');
        platform.push_str(&variant);
    }
    platform.into()
}

/// Without the placeholders by which old engines list an image that has no name.
fn real_names(names: impl IntoIterator<Item = String>) -> Vec<EngineName> {
    let real = names.into_iter().filter(|name| !name.contains("<none>"));
    real.filter_map(|name| EngineName::exact(&name)).collect()
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
            "80\0/tcp",
        ];
        let image = ImageInspect {
            id: Some(format!("sha256:{}", "1".repeat(64))),
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
            "443/tcp",
            "800-810/udp",
            "9000/tcp",
        ];
        assert_eq!(image.exposed_ports.to_strings(), sorted);
        assert_eq!(image.platform, "linux/arm/v7");
        assert_eq!(image.repo_tags, ["redis:7"]);
        assert!(image.repo_digests.is_empty());
    }

    #[test]
    fn an_image_without_id_or_size_is_refused_and_one_without_platform_is_not() {
        assert!(EngineImage::describe(ImageInspect::default()).is_err());
        let image = ImageInspect {
            id: Some(format!("sha256:{}", "1".repeat(64))),
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

    #[test]
    fn what_an_image_says_of_itself_is_cleaned() {
        let part = |part: &str| Some(part.to_owned());
        let said = platform(part("linux\0"), part("\u{202e}"), part("v7\u{1b}[31m\n"));
        assert_eq!(said, "linux/unknown/v7");
        let long = platform(part(&"l".repeat(3_000_000)), part("amd64"), None);
        assert!(
            long.chars().count() <= 64 && long.ends_with("/amd64"),
            "{long}"
        );
        let names = real_names(owned(&["a:1", "b\u{202e}:1", &"c".repeat(600)]));
        assert_eq!(names, ["a:1"]);
        let mut summary = ImageSummary {
            id: "not an id".into(),
            ..Default::default()
        };
        assert_eq!(EngineImageSummary::describe(summary.clone()), None);
        summary.id = format!("sha256:{}", "1".repeat(64));
        assert!(EngineImageSummary::describe(summary).is_some());
    }
}
