//! `removeImage`: the same life as a pull with another middle.

mod accept;
mod job;
mod run;
mod settle;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Select};
use wharfinger_entity::{ImageState, image, job::Model};

pub(crate) use self::job::RemoveImageJob;
pub(crate) use accept::removal;
pub use accept::{RemoveImage, accept};

/// Selects the holding that a removal is about, if it is held still.
fn holding_of(job: &Model) -> Select<image::Entity> {
    image::Entity::find()
        .filter(image::Column::Id.eq(job.image_id))
        .filter(image::Column::State.eq(ImageState::Held))
}
