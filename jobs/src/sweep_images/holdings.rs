//! The work of a sweep: a row for each host, and a removal for each holding, a page at a time.

use std::time::Duration;

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, ImageState, ImageVisibility, host, host_sweep, image, image_in_use, job,
};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_administrator;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{Transaction, in_transaction, insert};
use crate::ledger::Account;
use crate::remove_image::removal;
use crate::services::Services;

/// Time for which a process has a sweep for itself, from its last page on. After that the maintenance goes on with it.
const RESERVED: Duration = Duration::from_mins(1);

/// Every host, or those asked for.
pub(super) async fn chosen(
    services: &Services,
    ids: Option<&[Option<Uuid>]>,
) -> Result<Vec<host::Model>, ServiceError> {
    let mut hosts = host::Entity::find().order_by_asc(host::Column::Name);
    if let Some(ids) = ids {
        hosts = hosts.filter(host::Column::Id.is_in(ids.iter().copied().flatten()));
    }
    let hosts = hosts.all(services.db.read()).await?;
    let known = |id: &Option<Uuid>| id.is_some_and(|id| hosts.iter().any(|host| host.id == id));
    if ids.is_some_and(|ids| !ids.iter().all(known)) {
        return Err(UserError::new(
            UserErrorCode::HostNotFound,
            "hostIds",
            "one of these hosts does not exist: `hosts` lists them, and without hostIds every host is swept",
        )
        .into());
    }
    Ok(hosts)
}

/// Enters a sweep of hosts into the audit log, with a row for each host that is reserved for this process.
pub(super) async fn begin(
    tx: &Transaction,
    services: &Services,
    actor: &Actor,
    hosts: &[host::Model],
    traceparent: Option<&str>,
) -> Result<Vec<host_sweep::Model>, ServiceError> {
    let now = services.clock.now();
    still_administrator(tx, actor).await?;
    let mut sweeps = Vec::with_capacity(hosts.len());
    for host in hosts {
        let images = image::Entity::find()
            .filter(to_sweep(host.id))
            .count(tx)
            .await?;
        let subject = Subject::one(host.id, host.name.clone());
        let details = json!({ "images": images });
        actor
            .record(tx, AuditAction::SweepImages, subject, details, now)
            .await?;
        let sweep = host_sweep::ActiveModel {
            id: Set(Uuid::now_v7()),
            host_id: Set(host.id),
            last_image_id: Set(None),
            reserved_until: Set(Some(now.after(RESERVED))),
            traceparent: Set(traceparent.map(str::to_owned)),
        };
        sweeps.push(insert(tx, sweep).await?);
    }
    Ok(sweeps)
}

/// Stores how far a sweep is. It stays reserved for this process for a minute, or any process may go on with it.
pub(super) async fn save(
    services: &Services,
    sweep: &host_sweep::Model,
    reserved: bool,
) -> Result<(), DbErr> {
    let until = services.clock.now().after(RESERVED);
    host_sweep::Entity::update_many()
        .set(host_sweep::ActiveModel {
            last_image_id: Set(sweep.last_image_id),
            reserved_until: Set(reserved.then_some(until)),
            ..Default::default()
        })
        .filter(host_sweep::Column::Id.eq(sweep.id))
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// Reserves a sweep that was made for this process for another minute. False if another process has had it since.
pub(super) async fn reserve_again(
    services: &Services,
    sweep: &host_sweep::Model,
) -> Result<bool, DbErr> {
    let until = services.clock.now().after(RESERVED);
    let reserved = host_sweep::Entity::update_many()
        .col_expr(host_sweep::Column::ReservedUntil, Expr::value(until))
        .filter(host_sweep::Column::Id.eq(sweep.id))
        .filter(host_sweep::Column::ReservedUntil.eq(sweep.reserved_until))
        .exec(services.db.write())
        .await?;
    Ok(reserved.rows_affected == 1)
}

/// Forgets a sweep that is over.
pub(super) async fn forget(services: &Services, sweep: &host_sweep::Model) -> Result<(), DbErr> {
    host_sweep::Entity::delete_by_id(sweep.id)
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// The private images of a host that are not in use.
fn to_sweep(host_id: Uuid) -> Condition {
    let in_use = Query::select()
        .column(image_in_use::Column::Id)
        .from(image_in_use::Entity)
        .to_owned();
    Condition::all()
        .add(image::Column::HostId.eq(host_id))
        .add(image::Column::Live.eq(1))
        .add(image::Column::Visibility.eq(ImageVisibility::Private))
        .add(image::Column::EngineImageId.not_in_subquery(in_use))
}

/// Asks for the removal of the next holdings of a sweep, at most so many, and notes in `sweep` how far it is. Returns the
/// removals, or none where no holding is left.
pub(super) async fn next_removals(
    services: &Services,
    sweep: &mut host_sweep::Model,
    most: u64,
) -> Result<Option<Vec<job::Model>>, ServiceError> {
    // Ids are ordered by time: images that were pulled since it began are not meant.
    let mut holdings = image::Entity::find()
        .filter(to_sweep(sweep.host_id))
        .filter(image::Column::Id.lt(sweep.id));
    if let Some(last) = sweep.last_image_id {
        holdings = holdings.filter(image::Column::Id.gt(last));
    }
    let holdings = holdings
        .order_by_asc(image::Column::Id)
        .limit(most)
        .all(services.db.read())
        .await?;
    let Some(last) = holdings.last() else {
        return Ok(None);
    };
    sweep.last_image_id = Some(last.id);
    let mut jobs = Vec::with_capacity(holdings.len());
    for holding in &holdings {
        match sweep_one(services, holding, sweep.traceparent.as_deref()).await {
            Ok(removal) => jobs.extend(removal),
            // One holder whose image cannot be swept must not keep the others waiting.
            Err(error) if error.is_of_data() => {
                tracing::error!(image.id = %holding.id, %error, "could not sweep an image");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(jobs))
}

/// The removal of one holding; none when it is not held or not private any more.
async fn sweep_one(
    services: &Services,
    holding: &image::Model,
    traceparent: Option<&str>,
) -> Result<Option<job::Model>, ServiceError> {
    let Some(holder) = holding.user_id else {
        return Ok(None);
    };
    let removal = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let mut account = Account::lock(&tx, holder, now).await?;
        // The holdings of a user do not change while the account is locked.
        let image = image::Entity::find_by_id(holding.id)
            .one(&tx)
            .await?
            .filter(|image| {
                image.state == ImageState::Held && image.visibility == ImageVisibility::Private
            });
        let Some(image) = image else {
            return Ok::<_, ServiceError>(None);
        };
        let traceparent = traceparent.map(str::to_owned);
        let removal = removal(&tx, services, &mut account, &image, traceparent).await?;
        account.save().await?;
        Ok(Some(removal))
    })?;
    let Some((job, new)) = removal else {
        return Ok(None);
    };
    if new {
        services.announce(&job, None);
    }
    Ok(Some(job))
}
