//! Publishing images.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::image;
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::error::ServiceError;

use crate::graphql::context::{administrator, caller, internal, loaders, mendable, services};
use crate::graphql::enums::ImageVisibility;
use crate::graphql::ids::Kind;
use crate::graphql::loaders::ImageId;
use crate::graphql::types::{Image, UserError};

/// Publishing images.
#[derive(Default)]
pub(super) struct ImageMutation;

/// The visibility of an image.
#[derive(InputObject)]
pub(crate) struct SetImageVisibilityInput {
    /// The image, as any of its holders has it on the host where it is to be public.
    image_id: ID,
    /// PUBLIC publishes it; PRIVATE is refused for an image that is public.
    visibility: ImageVisibility,
}

/// The result of `setImageVisibility`.
#[derive(SimpleObject)]
pub(crate) struct SetImageVisibilityPayload {
    /// The image as everyone sees it now, with an id of its own; null if it was not published.
    image: Option<Image>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

impl SetImageVisibilityPayload {
    async fn of(ctx: &Context<'_>, result: Result<image::Model, ServiceError>) -> Result<Self> {
        Ok(match mendable(result)? {
            Ok(image) => Self {
                image: loaders(ctx)?
                    .load_one(ImageId(image.id))
                    .await
                    .map_err(|error| internal(&*error))?
                    .map(Image::from),
                user_errors: Vec::new(),
            },
            Err(error) => Self {
                image: None,
                user_errors: vec![error.into()],
            },
        })
    }
}

#[Object]
impl ImageMutation {
    /// Administrators only: publish an image. Everyone may use it from then on, free of charge: each holder of the same
    /// image id on that host is refunded once, their private holdings of it end, and their queued removals succeed. Making
    /// a public image private again is refused (NOT_REMOVABLE).
    async fn set_image_visibility(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which image, and who is to see it.")] input: SetImageVisibilityInput,
    ) -> Result<SetImageVisibilityPayload> {
        administrator(ctx)?;
        let actor = Actor::from(&caller(ctx)?.user);
        let image_id = Kind::Image.parse(&input.image_id);
        let visibility = input.visibility.into();
        let set = set_image_visibility(services(ctx), &actor, image_id, visibility).await;
        SetImageVisibilityPayload::of(ctx, set).await
    }
}
