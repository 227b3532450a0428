//! Public images: every user may use them at no cost, and no user holds one privately. A public image is a holding without a
//! holder; what was published by one reference covers its image id on that host, by whatever reference a user asks.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    QueryFilter, QueryOrder,
};
use uuid::Uuid;
use wharfinger_entity::{
    Credits, ImageState, ImageVisibility, Role, Timestamp, engine_image, image, job, user,
};

use crate::error::ServiceError;
use crate::holdings::{self, end_all};
use crate::infra::db::sql::Sql;
use crate::infra::db::{Transaction, for_update};
use crate::job::transition::{self, Outcome};
use crate::ledger::Purpose;
use crate::live::notify;
use crate::services::Services;

/// The image that everyone may use under this reference on a host.
pub(crate) async fn of_reference(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    reference: &str,
) -> Result<Option<image::Model>, DbErr> {
    holdings::of_reference(db, Uuid::nil(), host_id, reference).await
}

/// Appends how many images everyone may use under a reference, one or none, for a selection from `hosts`.
pub(crate) fn count(sql: &mut Sql, reference: &str) {
    sql.push("(SELECT COUNT(*) FROM images WHERE images.host_id = hosts.id AND images.live = 1");
    sql.push(" AND images.reference = ").bind(reference);
    sql.push(" AND images.holder = ")
        .bind(Uuid::nil())
        .push(")");
}

/// Whether a user may publish, refresh and remove public images.
pub(crate) async fn is_administrator(
    db: &impl ConnectionTrait,
    user_id: Uuid,
) -> Result<bool, DbErr> {
    let user = user::Entity::find_by_id(user_id).one(db).await?;
    Ok(user.is_some_and(|user| user.role == Role::Admin))
}

/// The reference and details to publish an engine's image with.
pub(crate) struct Publication {
    /// By which reference.
    pub(crate) reference: String,
    /// The manifest digest that the reference meant when it was pulled.
    pub(crate) digest: Option<String>,
    /// When that was.
    pub(crate) pulled_at: Timestamp,
}

/// A public image, with what changed beside it: to be announced after the commit.
pub(crate) struct Published {
    /// The image.
    pub(crate) image: image::Model,
    /// The engine's image that was public by this reference before.
    pub(crate) replaced: Option<Uuid>,
    removals: Vec<job::Model>,
    refunded: Vec<Uuid>,
}

impl Published {
    /// How many holders there were.
    pub(crate) fn refunded(&self) -> usize {
        self.refunded.len()
    }

    /// Notifies watchers.
    pub(crate) fn announce(&self, services: &Services) {
        for job in &self.removals {
            services.announce(job, None);
        }
        for user in &self.refunded {
            notify::balance_changed(&services.events, *user);
        }
    }
}

/// Makes an engine's image, whose row is locked in `tx`, public by a reference. What was public by that reference before
/// is let go; every private holding of the image ends with its refund, and every removal of one SUCCEEDS with nothing
/// left to give back.
pub(crate) async fn publish(
    tx: &Transaction,
    services: &Services,
    row: &engine_image::Model,
    publication: Publication,
) -> Result<Published, ServiceError> {
    let now = services.clock.now();
    let private: Vec<image::Model> = holdings::of_engine_image(tx, row.id)
        .await?
        .into_iter()
        .filter(|holding| holding.visibility == ImageVisibility::Private)
        .collect();
    let removals = end_removals(tx, services, &private).await?;
    let reason = "the image became public";
    let refunded = end_all(tx, services, private, ImageState::Released, reason).await?;

    let replaced = of_reference(tx, row.host_id, &publication.reference).await?;
    let replaced_id = replaced.as_ref().map(|old| old.engine_image_id);
    if let Some(old) = replaced {
        let purpose = Purpose::default();
        holdings::end(tx, None, old, ImageState::Released, purpose, now).await?;
    }
    let image = image::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(None),
        holder: Set(Uuid::nil()),
        host_id: Set(row.host_id),
        engine_image_id: Set(row.id),
        reference: Set(publication.reference),
        digest: Set(publication.digest),
        visibility: Set(ImageVisibility::Public),
        state: Set(ImageState::Held),
        charge: Set(Credits::ZERO),
        size: Set(row.size),
        pulled_at: Set(publication.pulled_at),
        released_at: Set(None),
        live: Set(Some(1)),
    }
    .insert(tx)
    .await?;
    Ok(Published {
        image,
        replaced: replaced_id,
        removals,
        refunded,
    })
}

/// Ends the live removals of holdings that are about to end by themselves. One that is accepted at this very moment is
/// not seen here, and finds nothing to do when it runs.
async fn end_removals(
    tx: &Transaction,
    services: &Services,
    holdings: &[image::Model],
) -> Result<Vec<job::Model>, ServiceError> {
    let live = job::Entity::find()
        .filter(job::Column::RemovalOf.is_in(holdings.iter().map(|holding| holding.id)))
        .order_by_asc(job::Column::Id);
    let mut ended = Vec::new();
    for job in for_update(tx, live).all(tx).await? {
        // Its worker, if it has one, has no lease any more and stops at its next step.
        let (job, _) = transition::finish(tx, services, job, Outcome::NothingToDo).await?;
        ended.push(job);
    }
    Ok(ended)
}
