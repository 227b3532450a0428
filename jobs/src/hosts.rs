//! Docker hosts: joining, heartbeats, and the choice of one for a pull.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    QueryFilter, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, host, image, job};

use crate::db::Db;
use crate::engine::EngineInfo;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::services::Services;
use crate::settings::HostSettings;

/// Part of a host's storage that must be free before a pull is placed there without its user naming the host.
const ENOUGH_FREE: f64 = 0.05;

/// Whether a worker reported lately that the host's engine answers.
pub fn is_online(host: &host::Model, settings: &HostSettings, now: Timestamp) -> bool {
    host.last_seen_at
        .is_some_and(|seen| now.since(seen) < settings.offline_after)
}

/// Finds the host of this name, or makes it.
pub async fn join(
    db: &Db,
    name: &str,
    concurrency: usize,
    now: Timestamp,
) -> Result<host::Model, DbErr> {
    let find = || {
        host::Entity::find()
            .filter(host::Column::Name.eq(name))
            .one(db.write())
    };
    if let Some(host) = find().await? {
        return Ok(host);
    }
    let made = host::ActiveModel {
        id: Set(Uuid::now_v7()),
        name: Set(name.to_owned()),
        schedulable: Set(true),
        engine_version: Set(None),
        platform: Set(None),
        labels: Set(serde_json::json!({})),
        storage_used: Set(None),
        storage_total: Set(None),
        concurrency: Set(i32::try_from(concurrency).unwrap_or(i32::MAX)),
        created_at: Set(now),
        last_seen_at: Set(None),
    }
    .insert(db.write())
    .await;
    match made {
        Ok(host) => Ok(host),
        // Another worker of the same host was quicker; anything else shows again here.
        Err(error) => find().await?.ok_or(error),
    }
}

/// Records that the host's engine answers, and what it says of itself.
pub async fn heartbeat(
    db: &Db,
    host_id: Uuid,
    concurrency: usize,
    engine: &EngineInfo,
    now: Timestamp,
) -> Result<(), DbErr> {
    let bytes = |value: Option<u64>| value.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    host::Entity::update(host::ActiveModel {
        id: Set(host_id),
        engine_version: Set(Some(engine.version.clone())),
        platform: Set(Some(engine.platform())),
        storage_used: Set(bytes(engine.storage_used)),
        storage_total: Set(bytes(engine.storage_total)),
        concurrency: Set(i32::try_from(concurrency).unwrap_or(i32::MAX)),
        last_seen_at: Set(Some(now)),
        ..Default::default()
    })
    .exec(db.write())
    .await?;
    Ok(())
}

/// Chooses the host of a pull. A named host must be there and take jobs. Without a name: of the online hosts that take
/// jobs, one where this user or everyone has the reference already; else, of those with storage to spare, the one with the fewest live jobs,
/// and of equals the one with the most free storage.
pub(crate) async fn place(
    tx: &impl ConnectionTrait,
    services: &Services,
    user_id: Uuid,
    named: Option<Uuid>,
    reference: &str,
) -> Result<host::Model, ServiceError> {
    let now = services.clock.now();
    let online = |host: &host::Model| is_online(host, &services.settings.host, now);
    if let Some(id) = named {
        let host = host::Entity::find_by_id(id).one(tx).await?.ok_or_else(|| {
            UserError::new(
                UserErrorCode::HostNotFound,
                "hostId",
                "there is no such host: `hosts` lists them, and leaving hostId out lets Wharfinger choose one",
            )
        })?;
        if !host.schedulable {
            return Err(unavailable(
                "hostId",
                format!(
                    "host {} takes no new jobs at the moment: choose another",
                    host.name
                ),
            ));
        }
        if !online(&host) {
            return Err(unavailable(
                "hostId",
                format!(
                    "host {} is offline: choose another, or try again later",
                    host.name
                ),
            ));
        }
        return Ok(host);
    }

    let mut hosts = host::Entity::find()
        .filter(host::Column::Schedulable.eq(true))
        .all(tx)
        .await?;
    hosts.retain(online);
    if hosts.len() > 1 {
        let with_image: Vec<Uuid> = image::Entity::find()
            .select_only()
            .column(image::Column::HostId)
            .distinct()
            .filter(image::Column::HostId.is_in(hosts.iter().map(|host| host.id)))
            .filter(image::Column::Reference.eq(reference))
            // What others hold is not to be told by where a pull goes.
            .filter(image::Column::Holder.is_in([user_id, Uuid::nil()]))
            .filter(image::Column::Live.eq(1))
            .into_tuple()
            .all(tx)
            .await?;
        if hosts.iter().any(|host| with_image.contains(&host.id)) {
            hosts.retain(|host| with_image.contains(&host.id));
        } else if hosts.iter().any(has_room) {
            hosts.retain(has_room);
        }
        let work: HashMap<Uuid, i64> =
            live_jobs(tx, &hosts.iter().map(|host| host.id).collect::<Vec<_>>()).await?;
        hosts.sort_by_key(|host| {
            (
                work.get(&host.id).copied().unwrap_or(0),
                std::cmp::Reverse(free_bytes(host)),
                host.id,
            )
        });
    }
    hosts.into_iter().next().ok_or_else(|| {
        unavailable(
            "hostId",
            "no Docker host is online and taking jobs: try again later, or ask an administrator"
                .into(),
        )
    })
}

fn unavailable(field: &'static str, message: String) -> ServiceError {
    UserError::new(UserErrorCode::HostUnavailable, field, message).into()
}

fn free_bytes(host: &host::Model) -> i64 {
    host.storage_total.unwrap_or(0) - host.storage_used.unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of a disk needs no 53 bits"
)]
fn has_room(host: &host::Model) -> bool {
    host.storage_total
        .is_none_or(|total| free_bytes(host) as f64 >= total as f64 * ENOUGH_FREE)
}

async fn live_jobs(tx: &impl ConnectionTrait, hosts: &[Uuid]) -> Result<HashMap<Uuid, i64>, DbErr> {
    let counted: Vec<(Uuid, i64)> = job::Entity::find()
        .select_only()
        .column(job::Column::HostId)
        .expr(Func::count(Expr::col(job::Column::Id)))
        .filter(job::Column::HostId.is_in(hosts.iter().copied()))
        .filter(job::Column::Live.eq(1))
        .group_by(job::Column::HostId)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(counted.into_iter().collect())
}
