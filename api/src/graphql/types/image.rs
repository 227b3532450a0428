//! An image, as one user or everyone holds it.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result};
use wharfinger_entity::{Credits as Amount, ImageReference, ImageState, ImageVisibility};
use wharfinger_jobs::queries::images::{self, ImageView, OnEngine, With};

use super::Host;
use super::rows::{One, Row};
use super::size::List;
use crate::graphql::context::{internal, load};
use crate::graphql::ids::Kind;
use crate::graphql::loaders::{HostId, ImageId};
use crate::graphql::scalars::{ByteSize, Credits, DateTime};

/// An image on a host, as one user holds it, or as everyone may use it when it is public.
#[derive(Clone)]
pub(crate) struct Image(ImageView);

impl From<ImageView> for Image {
    fn from(view: ImageView) -> Self {
        Self(view)
    }
}

impl Image {
    /// Returns the reference in its parts. It was parsed before it was stored.
    fn parts(&self) -> Result<ImageReference> {
        ImageReference::parse(&self.0.image.reference).map_err(|error| internal(&error))
    }

    /// Returns the engine's data of the image: read with the list, where the list knew that it would be needed
    /// ([`Self::asked_for`]), else by a loader.
    async fn on_engine(&self, ctx: &Context<'_>) -> Result<Cow<'_, OnEngine>> {
        if let Some(engine) = &self.0.engine {
            return Ok(Cow::Borrowed(engine));
        }
        let image = load(ctx, Some(ImageId(self.0.image.id))).await?;
        let engine = image.and_then(|image| image.0.engine);
        engine
            .map(Cow::Owned)
            .ok_or_else(|| internal(&Missing("image")))
    }

    /// Returns the related rows that a query needs of the images in a list, so that the list's own statement reads them.
    pub(super) fn asked_for(ctx: &Context<'_>) -> With {
        let list = ctx.look_ahead();
        let places = [list.field("nodes"), list.field("edges").field("node")];
        let asked = |field| places.iter().any(|place| place.field(field).exists());
        With {
            engine: ["imageId", "exposedPorts", "platform"]
                .into_iter()
                .any(asked),
            host: asked("host"),
        }
    }
}

impl Row for Image {}

/// An image on a host, as one user holds it, or as everyone may use it when it is public.
#[Object]
impl Image {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::Image.id(self.0.image.id)
    }

    /// Fully qualified: docker.io/library/redis:7
    async fn reference(&self) -> &str {
        &self.0.image.reference
    }

    /// As people write it: redis:7
    async fn familiar_name(&self) -> Result<String> {
        Ok(self.parts()?.familiar())
    }

    /// Host and port of the registry: docker.io
    async fn registry(&self) -> Result<String> {
        Ok(self.parts()?.registry().to_owned())
    }

    /// The path within the registry: library/redis
    async fn repository(&self) -> Result<String> {
        Ok(self.parts()?.repository().to_owned())
    }

    /// The tag; null for an image that was pulled by digest alone.
    async fn tag(&self) -> Result<Option<String>> {
        Ok(self.parts()?.tag().map(str::to_owned))
    }

    /// The manifest digest that the reference meant when it was pulled; null where it is not known.
    async fn digest(&self) -> Option<&str> {
        self.0.image.digest.as_deref()
    }

    /// The engine's image id, sha256:…
    async fn image_id(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(self.on_engine(ctx).await?.image_id.clone())
    }

    /// The engine's unpacked size, in bytes.
    async fn size(&self) -> ByteSize {
        self.0.image.size.into()
    }

    /// size in megabytes (10^6 bytes), rounded to one decimal.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounded to a tenth of a megabyte anyway"
    )]
    async fn size_megabytes(&self) -> f64 {
        (self.0.image.size as f64 / 100_000.0).round() / 10.0
    }

    /// As the image declares them: 6379/tcp. Lowest port first. There are at most 1,000.
    async fn exposed_ports(&self, ctx: &Context<'_>) -> Result<List<String>> {
        Ok(List(self.on_engine(ctx).await?.exposed_ports.to_strings()))
    }

    /// Operating system and architecture: linux/amd64
    async fn platform(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(self.on_engine(ctx).await?.platform.clone())
    }

    /// Who sees it.
    async fn visibility(&self) -> ImageVisibility {
        self.0.image.visibility
    }

    /// RELEASED images are history: let go, by whom and when is in the ledger. LOST ones vanished from the engine and were refunded.
    async fn state(&self) -> ImageState {
        self.0.image.state
    }

    /// When it was released or lost; null while it is held.
    async fn released_at(&self) -> Option<DateTime> {
        self.0.image.released_at.map(DateTime::from)
    }

    /// What the holder was charged for it; zero for a public image, and for a further tag of an image already charged.
    async fn charge(&self) -> Credits {
        let public = self.0.image.user_id.is_none();
        if public {
            Amount::ZERO.into()
        } else {
            self.0.image.charge.into()
        }
    }

    /// The host that has it.
    async fn host(&self, ctx: &Context<'_>) -> Result<One<Host>> {
        match &self.0.host {
            Some(host) => Ok(One(Arc::clone(host).into())),
            None => Host::load_one(ctx, self.0.image.host_id).await.map(One),
        }
    }

    /// When it was pulled.
    async fn pulled_at(&self) -> DateTime {
        self.0.image.pulled_at.into()
    }
}

impl Host {
    /// Loads the host that a row refers to. Fails where it is missing.
    pub(super) async fn load_one(ctx: &Context<'_>, id: uuid::Uuid) -> Result<Self> {
        let host = load(ctx, Some(HostId(id))).await?;
        host.ok_or_else(|| internal(&Missing("host")))
    }
}

/// A row is missing that another one refers to by a foreign key.
#[derive(Debug, thiserror::Error)]
#[error("the {0} that a row refers to is missing")]
pub(super) struct Missing(pub(super) &'static str);

/// A filter of images.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct ImageFilter {
    /// In one of these states; HELD if left out.
    states: Option<Vec<ImageState>>,
    /// Only private or only public ones.
    visibility: Option<ImageVisibility>,
    /// Only on this host.
    host_id: Option<ID>,
    /// Part of the reference, case-insensitive.
    search: Option<String>,
}

impl From<ImageFilter> for images::ImageFilter {
    fn from(filter: ImageFilter) -> Self {
        Self {
            states: filter.states,
            visibility: filter.visibility,
            host_id: Kind::Host.filtered(filter.host_id),
            search: filter.search,
        }
    }
}
