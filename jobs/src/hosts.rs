//! Docker hosts: joining, heartbeats, the choice of one for a pull, and what happens to pulls when one is gone.

pub(crate) mod placement;

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, host};

use crate::engine::EngineInfo;
use crate::infra::db::Db;
use crate::services::Services;
use crate::settings::WorkerSettings;

/// Whether a worker reported lately that the host's engine answers.
pub fn is_online(services: &Services, host: &host::Model) -> bool {
    seen_lately(services, host.last_seen_at)
}

/// The same of an instant at which it was last seen.
pub(crate) fn seen_lately(services: &Services, last_seen_at: Option<Timestamp>) -> bool {
    silence(services, last_seen_at)
        .is_some_and(|silence| silence < services.settings.host.offline_after)
}

/// Whether a host that was there is gone for good.
pub(crate) fn is_lost(services: &Services, host: &host::Model) -> bool {
    silence(services, host.last_seen_at)
        .is_some_and(|silence| silence > services.settings.host.lost_after)
}

/// How long nothing was heard of the host while the database could be used: no heartbeat is stored in an outage of the
/// database, and right after one every host was last seen before it. None for a host that was never heard of.
fn silence(services: &Services, last_seen_at: Option<Timestamp>) -> Option<Duration> {
    let silence = services.clock.now().since(last_seen_at?);
    Some(silence.saturating_sub(services.db.outage_within(silence)))
}

/// The host of this name, which is that of its queue too.
pub async fn named(db: &impl ConnectionTrait, name: &str) -> Result<Option<host::Model>, DbErr> {
    let host = host::Entity::find().filter(host::Column::Name.eq(name));
    host.one(db).await
}

/// Finds the host of this name, or makes it. Its labels are those of whichever worker joined last.
pub async fn join(
    db: &Db,
    name: &str,
    settings: &WorkerSettings,
    now: Timestamp,
) -> Result<host::Model, DbErr> {
    let labels = serde_json::json!(settings.labels);
    let found = if let Some(host) = named(db.write(), name).await? {
        host
    } else {
        let made = host::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(name.to_owned()),
            schedulable: Set(true),
            engine_version: Set(None),
            platform: Set(None),
            labels: Set(labels.clone()),
            storage_used: Set(None),
            storage_total: Set(None),
            concurrency: Set(at_a_time(settings)),
            created_at: Set(now),
            last_seen_at: Set(None),
        }
        .insert(db.write())
        .await;
        match made {
            Ok(host) => host,
            // Another worker of the same host was quicker; anything else shows again here.
            Err(error) => named(db.write(), name).await?.ok_or(error)?,
        }
    };
    if found.labels == labels {
        return Ok(found);
    }
    host::ActiveModel {
        id: Set(found.id),
        labels: Set(labels),
        ..Default::default()
    }
    .update(db.write())
    .await
}

/// Records that the host's engine answers, and what it says of itself.
pub async fn heartbeat(
    db: &Db,
    host_id: Uuid,
    settings: &WorkerSettings,
    engine: &EngineInfo,
    now: Timestamp,
) -> Result<(), DbErr> {
    let bytes = |value: Option<u64>| value.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    host::Entity::update(host::ActiveModel {
        id: Set(host_id),
        engine_version: Set(Some(engine.version.to_string())),
        platform: Set(Some(engine.platform().into())),
        storage_used: Set(bytes(engine.storage_used)),
        storage_total: Set(bytes(engine.storage_total)),
        concurrency: Set(at_a_time(settings)),
        last_seen_at: Set(Some(now)),
        ..Default::default()
    })
    .exec(db.write())
    .await?;
    Ok(())
}

fn at_a_time(settings: &WorkerSettings) -> i32 {
    i32::try_from(settings.concurrency).unwrap_or(i32::MAX)
}
