//! Which image of an index an engine takes: the choice of containerd's `platforms.Only`, which Docker uses.

use std::fmt;

use oci_spec::image::{Descriptor, ImageIndex};
use wharfinger_entity::CleanText;

/// An engine's platform, in the words of Go and of image indexes (`linux`, `amd64`, `v7`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`, `windows`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// `v7` and the like; `None` for what the architecture usually has.
    pub variant: Option<String>,
}

impl Platform {
    /// Also takes the names that engines and kernels report (`x86_64`, `aarch64`, `armv7l`).
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "i386" | "i686" => ("386".to_owned(), None),
            "armhf" | "armv7l" => ("arm".to_owned(), Some("v7")),
            "armel" | "armv6l" => ("arm".to_owned(), Some("v6")),
            other => (other.to_owned(), None),
        };
        let variant = variant.filter(|v| !v.is_empty()).or(implied);
        Self {
            os: os.to_ascii_lowercase(),
            architecture,
            variant: variant.map(str::to_ascii_lowercase),
        }
    }

    /// The platforms whose images run on this one, best first, as (architecture, variant) in normal form.
    fn runnable(&self) -> Vec<(&str, String)> {
        let architecture = self.architecture.as_str();
        let variant = normal_variant(architecture, self.variant.as_deref());
        match architecture {
            "amd64" => {
                let mut all = descending("amd64", &variant, 1);
                all.push(("386", String::new()));
                all
            }
            "arm" => descending("arm", &variant, 5),
            "arm64" => {
                let mut all = vec![("arm64", variant)];
                all.extend(descending("arm", "v8", 5));
                all
            }
            _ => vec![(architecture, variant)],
        }
    }

    /// The entry that an engine of this platform pulls.
    pub(super) fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let entries: Vec<_> = index
            .manifests()
            .iter()
            .filter_map(|entry| Some((Self::of(entry)?, entry)))
            .filter(|(platform, _)| platform.os == self.os)
            .collect();
        let exact = self
            .runnable()
            .into_iter()
            .find_map(|(architecture, variant)| {
                entries.iter().find(|(platform, _)| {
                    platform.architecture == architecture
                        && normal_variant(architecture, platform.variant.as_deref()) == variant
                })
            });
        // As Docker does for images older than variants: any arm is better than none.
        let any_arm = || {
            let arm = self.architecture == "arm";
            entries.iter().find(|(p, _)| arm && p.architecture == "arm")
        };
        exact.or_else(any_arm).map(|(_, entry)| *entry)
    }

    /// The platforms of an index for a message; attestations (`unknown/unknown`) are no images.
    pub(super) fn list(index: &ImageIndex) -> CleanText {
        let mut names: Vec<String> = index
            .manifests()
            .iter()
            .filter_map(Self::of)
            .filter(|platform| platform.os != "unknown")
            .map(|platform| platform.to_string())
            .collect();
        names.dedup();
        if names.is_empty() {
            return "no platform at all".into();
        }
        names.truncate(20);
        names.join(", ").into()
    }

    fn of(entry: &Descriptor) -> Option<Self> {
        let platform = entry.platform().as_ref()?;
        Some(Self::new(
            &platform.os().to_string(),
            &platform.architecture().to_string(),
            platform.variant().as_deref(),
        ))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

fn normal_variant(architecture: &str, variant: Option<&str>) -> String {
    let variant = variant.unwrap_or_default();
    match (architecture, variant) {
        ("arm", "") => "v7",
        ("arm64", "" | "8") => "v8",
        ("amd64", "") => "v1",
        ("arm", "5" | "6" | "7" | "8") => return format!("v{variant}"),
        (_, other) => other,
    }
    .to_owned()
}

/// The variant itself and each lower one down to `lowest`: a v7 runs what was built for v6.
fn descending<'a>(architecture: &'a str, variant: &str, lowest: u8) -> Vec<(&'a str, String)> {
    let level = variant.strip_prefix('v').and_then(|v| v.parse::<u8>().ok());
    let mut all = vec![(architecture, variant.to_owned())];
    let lower = (lowest..level.unwrap_or(lowest)).rev();
    all.extend(lower.map(|level| (architecture, format!("v{level}"))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index(platforms: &[&str]) -> ImageIndex {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(i, platform)| {
                let mut parts = platform.split('/');
                let mut described = json!({"os": parts.next(), "architecture": parts.next()});
                if let Some(variant) = parts.next() {
                    described["variant"] = json!(variant);
                }
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "size": i,
                    "digest": format!("sha256:{}", "0".repeat(64)),
                    "platform": described,
                })
            })
            .collect();
        serde_json::from_value(json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    #[test]
    fn chooses_as_docker_does() {
        let arms = [
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/arm64/v8",
            "linux/amd64",
        ];
        for (wanted, offered, chosen) in [
            ("linux/amd64", &arms[..], Some(3)),
            ("linux/x86_64", &arms, Some(3)),
            ("linux/aarch64", &arms, Some(2)),
            ("linux/arm/v6", &arms, Some(0)),
            ("linux/arm", &arms, Some(1)),
            ("linux/arm64", &["linux/amd64", "linux/arm/v7"], Some(1)),
            (
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64/v1"],
                Some(1),
            ),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2"],
                Some(1),
            ),
            ("linux/amd64", &["linux/386"], Some(0)),
            ("linux/arm/v5", &["linux/arm/v7"], Some(0)),
            ("linux/s390x", &arms, None),
            ("windows/amd64", &arms, None),
            ("linux/amd64", &["unknown/unknown"], None),
        ] {
            let mut parts = wanted.split('/');
            let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
            let platform = Platform::new(os, architecture, parts.next());
            let choice = platform.choose(&index(offered)).map(Descriptor::size);
            assert_eq!(choice, chosen, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn lists_what_there_is() {
        let listed = Platform::list(&index(&["linux/amd64", "linux/arm/v7", "unknown/unknown"]));
        assert_eq!(listed, "linux/amd64, linux/arm/v7");
        assert_eq!(Platform::list(&index(&[])), "no platform at all");
    }
}
