//! The work of a sweep: a removal for each holding, a page at a time.

use sea_orm::sea_query::Query;
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, ImageState, ImageVisibility, host, image, image_in_use, job};

use crate::accounts::audit::{self, Actor, Subject};
use crate::accounts::still_administrator;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{Transaction, in_transaction};
use crate::ledger::Account;
use crate::remove_image::removal;
use crate::services::Services;

/// How many holdings are read at a time.
pub(super) const PAGE: u64 = 100;

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

/// Enters the sweep into the audit log, for each host.
pub(super) async fn enter(
    services: &Services,
    actor: &Actor,
    hosts: &[host::Model],
) -> Result<(), ServiceError> {
    in_transaction!(services.db, |tx| enter_in(&tx, services, actor, hosts)
        .await)
}

/// The same in a transaction.
pub(super) async fn enter_in(
    tx: &Transaction,
    services: &Services,
    actor: &Actor,
    hosts: &[host::Model],
) -> Result<(), ServiceError> {
    let now = services.clock.now();
    still_administrator(tx, actor).await?;
    for host in hosts {
        let images = image::Entity::find()
            .filter(to_sweep(host.id))
            .count(tx)
            .await?;
        let subject = Subject::one(host.id, host.name.clone());
        let details = json!({ "images": images });
        audit::enter(tx, actor, AuditAction::SweepImages, subject, details, now).await?;
    }
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

/// A part of a sweep.
pub(super) struct SweptPage {
    /// The removals.
    pub(super) jobs: Vec<job::Model>,
    /// The last holding that was looked at; none when there are no more.
    pub(super) last: Option<Uuid>,
}

/// Which holdings of a host are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) host_id: Uuid,
    /// Those after this one; all without.
    pub(super) after: Option<Uuid>,
    /// Those before this one, as ids are ordered by time; all without.
    pub(super) before: Option<Uuid>,
    /// At most so many.
    pub(super) most: u64,
}

/// Asks for the removal of some holdings of a host.
pub(super) async fn sweep_page(
    services: &Services,
    part: Part,
    traceparent: Option<&str>,
) -> Result<SweptPage, ServiceError> {
    let holdings = page(services, part).await?;
    let mut jobs = Vec::with_capacity(holdings.len());
    for holding in &holdings {
        let (job, new) = match sweep_one(services, holding, traceparent).await {
            Ok(Some(removal)) => removal,
            Ok(None) => continue,
            // One holder whose image cannot be swept must not keep the others waiting.
            Err(error) if error.is_of_data() => {
                tracing::error!(image.id = %holding.id, %error, "could not sweep an image");
                continue;
            }
            Err(error) => return Err(error),
        };
        if new {
            services.announce(&job, None);
        }
        jobs.push(job);
    }
    Ok(SweptPage {
        jobs,
        last: holdings.last().map(|holding| holding.id),
    })
}

async fn page(services: &Services, part: Part) -> Result<Vec<image::Model>, DbErr> {
    let mut holdings = image::Entity::find().filter(to_sweep(part.host_id));
    if let Some(after) = part.after {
        holdings = holdings.filter(image::Column::Id.gt(after));
    }
    if let Some(before) = part.before {
        holdings = holdings.filter(image::Column::Id.lt(before));
    }
    holdings
        .order_by_asc(image::Column::Id)
        .limit(part.most)
        .all(services.db.read())
        .await
}

/// The removal of one holding, and whether it is new; none when it is not held or not private any more.
async fn sweep_one(
    services: &Services,
    holding: &image::Model,
    traceparent: Option<&str>,
) -> Result<Option<(job::Model, bool)>, ServiceError> {
    let Some(holder) = holding.user_id else {
        return Ok(None);
    };
    in_transaction!(services.db, |tx| {
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
    })
}
