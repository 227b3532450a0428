//! Images that no other test has: random names, random contents.

use rand::RngCore as _;
use uuid::Uuid;
use wharfinger_jobs::testing::image::{TestImage, layer};
use wharfinger_jobs::testing::registry::TestRegistry;

/// A repository of the shared registry.
pub(crate) struct Repository {
    /// As in references to it: through a proxy, or the registry's own.
    pub(crate) address: String,
    /// The path.
    pub(crate) name: String,
}

impl Repository {
    /// An unused one, reached at an address.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            name: format!("life/{}", Uuid::new_v4().simple()),
        }
    }

    /// One of a registry that is not there: nothing listens at a port that was free a moment ago.
    pub(crate) fn nowhere() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::at(&free.local_addr().unwrap().to_string())
    }

    /// Registry and path, without a tag.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.address, self.name)
    }

    /// With a tag.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.full_name())
    }

    /// Pushes an image under a tag. Returns its image id.
    pub(crate) async fn push(
        &self,
        registry: &TestRegistry,
        tag: &str,
        image: &TestImage,
    ) -> String {
        registry.push(&self.name, tag, image).await.config_digest
    }
}

/// An image of one layer of this many random bytes.
pub(crate) fn random_image(bytes: usize) -> TestImage {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    TestImage::new(vec![layer("cargo", &content)])
}

/// An image that compresses well: it is small until the engine unpacks it to this many bytes.
pub(crate) fn compressible_image(bytes: usize) -> TestImage {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content[..64]);
    let mut image = TestImage::new(vec![layer("cargo", &content)]);
    image.gzip = true;
    image
}
