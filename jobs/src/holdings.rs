//! Who holds what: making and ending holdings, with what they cost.

pub(crate) mod found;
pub(crate) mod publication;

use std::collections::BTreeMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{ImageState, Timestamp, image, job};

use crate::error::ServiceError;
use crate::infra::db::Transaction;
use crate::ledger::{Account, LedgerError, Purpose};
use crate::services::Services;

/// A holder's live holding of a reference on a host.
pub(crate) async fn of_reference(
    tx: &impl ConnectionTrait,
    holder: Uuid,
    host_id: Uuid,
    reference: &str,
) -> Result<Option<image::Model>, DbErr> {
    image::Entity::find()
        .filter(image::Column::Holder.eq(holder))
        .filter(image::Column::HostId.eq(host_id))
        .filter(image::Column::Reference.eq(reference))
        .filter(image::Column::Live.eq(1))
        .one(tx)
        .await
}

/// Every live holding of an engine's image, of all users.
pub(crate) async fn of_engine_image(
    tx: &impl ConnectionTrait,
    engine_image_id: Uuid,
) -> Result<Vec<image::Model>, DbErr> {
    image::Entity::find()
        .filter(image::Column::EngineImageId.eq(engine_image_id))
        .filter(image::Column::Live.eq(1))
        .all(tx)
        .await
}

/// Ends a holding. With the holder's last tag of the image, exactly what was charged for it comes back. `account` is the
/// holder's, or none for a public image, which no user paid for.
pub(crate) async fn end(
    tx: &Transaction,
    account: Option<&mut Account<'_>>,
    holding: image::Model,
    state: ImageState,
    purpose: Purpose,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let engine_image_id = holding.engine_image_id;
    let last = is_last_of(tx, &holding).await?;
    let ended = image::Entity::update_many()
        .set(image::ActiveModel {
            state: Set(state),
            released_at: Set(Some(now)),
            live: Set(None),
            ..Default::default()
        })
        .filter(image::Column::Id.eq(holding.id))
        .filter(image::Column::Live.eq(1))
        .exec(tx)
        .await?;
    // Otherwise another transaction ended it since it was read, with its refund.
    if ended.rows_affected > 0
        && last
        && let Some(account) = account
        && let Some(payment) = account.payment_for(engine_image_id).await?
    {
        account.refund(payment, purpose).await?;
    }
    Ok(())
}

/// Whether this is its holder's last tag of the image, so that ending it gives the charge back.
pub(crate) async fn is_last_of(tx: &Transaction, holding: &image::Model) -> Result<bool, DbErr> {
    let others = image::Entity::find()
        .filter(image::Column::EngineImageId.eq(holding.engine_image_id))
        .filter(image::Column::Live.eq(1))
        .filter(image::Column::Holder.eq(holding.holder))
        .filter(image::Column::Id.ne(holding.id))
        .count(tx)
        .await?;
    Ok(others == 0)
}

/// Ends holdings, with their refunds, user by user in the order of their ids, in which accounts are locked everywhere.
/// Returns the users.
pub(crate) async fn end_all(
    tx: &Transaction,
    services: &Services,
    holdings: Vec<image::Model>,
    state: ImageState,
    reason: &str,
) -> Result<Vec<Uuid>, ServiceError> {
    let now = services.clock.now();
    let mut by_user: BTreeMap<Option<Uuid>, Vec<image::Model>> = BTreeMap::new();
    for holding in holdings {
        by_user.entry(holding.user_id).or_default().push(holding);
    }
    let users = by_user.keys().flatten().copied().collect();
    for (user, holdings) in by_user {
        let mut account = match user {
            Some(user) => Some(Account::lock(tx, user, now).await?),
            None => None,
        };
        for holding in holdings {
            let purpose = Purpose {
                job_id: None,
                reference: Some(holding.reference.clone()),
                reason: Some(reason.to_owned()),
            };
            end(tx, account.as_mut(), holding, state, purpose, now).await?;
        }
        if let Some(account) = account {
            account.save().await?;
        }
    }
    Ok(users)
}

/// Ends the holding that a user had of a reference which means another image now.
pub(crate) async fn let_go_of_moved(
    tx: &Transaction,
    account: &mut Account<'_>,
    old: image::Model,
    job: &job::Model,
) -> Result<(), ServiceError> {
    let purpose = Purpose {
        job_id: Some(job.id),
        reference: Some(job.reference.clone()),
        reason: Some("the tag moved to another image".to_owned()),
    };
    let now = account.now();
    end(tx, Some(account), old, ImageState::Released, purpose, now).await?;
    Ok(())
}
