//! The rows: what a repository is to deliver to a host's engine, and what it has delivered.

use std::time::Duration;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::Timestamp;
use wharfinger_entity::blob_origin::{ActiveModel, Column, Entity, Model};

use super::Source;

/// How long an announcement counts that nothing came of.
const ANNOUNCED_FOR: Duration = Duration::from_hours(7 * 24);

/// Digests in one statement: databases limit its parameters.
const AT_A_TIME: usize = 200;

/// Announcements that are forgotten at a time.
const FORGOTTEN_AT_A_TIME: u64 = 1000;

/// All that is known of these blobs, on any host.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    digests: &[String],
) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for digests in digests.chunks(AT_A_TIME) {
        let some = Entity::find().filter(Column::Digest.is_in(digests));
        found.extend(some.all(db).await?);
    }
    Ok(found)
}

/// Writes down that a pull is about to bring these blobs from a source, before the engine is asked: pulls of other sources
/// that are under way learn of it when they end.
pub(crate) async fn announce(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    source: &Source,
    digests: &[String],
    now: Timestamp,
) -> Result<(), DbErr> {
    let rows = digests.iter().map(|digest| ActiveModel {
        delivered: Set(false),
        anonymous: Set(false),
        diff_id: Set(None),
        ..row(host_id, source, digest, now)
    });
    // One that was there counts anew: it may be about to be forgotten.
    upsert(db, rows.collect(), &[Column::CreatedAt]).await
}

/// Writes down that a source has delivered a blob whole, and what it is uncompressed, where that is known.
pub(crate) async fn deliver(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    source: &Source,
    blobs: &[(String, Option<String>)],
    now: Timestamp,
) -> Result<(), DbErr> {
    let (known, unknown): (Vec<_>, Vec<_>) =
        blobs.iter().partition(|(_, diff_id)| diff_id.is_some());
    for blobs in [known, unknown] {
        let Some((_, diff_id)) = blobs.first() else {
            continue;
        };
        // What was learnt once is kept.
        let mut learnt = vec![Column::Delivered];
        learnt.extend(source.anonymous.then_some(Column::Anonymous));
        learnt.extend(diff_id.is_some().then_some(Column::DiffId));
        let rows = blobs.iter().map(|(digest, diff_id)| ActiveModel {
            delivered: Set(true),
            anonymous: Set(source.anonymous),
            diff_id: Set(diff_id.clone()),
            ..row(host_id, source, digest, now)
        });
        upsert(db, rows.collect(), &learnt).await?;
    }
    Ok(())
}

fn row(host_id: Uuid, source: &Source, digest: &str, now: Timestamp) -> ActiveModel {
    ActiveModel {
        id: Set(Uuid::now_v7()),
        host_id: Set(host_id),
        digest: Set(digest.to_owned()),
        registry: Set(source.registry.clone()),
        repository: Set(source.repository.clone()),
        created_at: Set(now),
        ..Default::default()
    }
}

/// Inserts rows, and takes these columns over where they are there already.
async fn upsert(
    db: &impl ConnectionTrait,
    mut rows: Vec<ActiveModel>,
    columns: &[Column],
) -> Result<(), DbErr> {
    // Pulls of the same blobs lock them in the same order.
    rows.sort_unstable_by_key(|row| row.digest.clone().take());
    for rows in rows.chunks(AT_A_TIME) {
        let key = [
            Column::HostId,
            Column::Digest,
            Column::Registry,
            Column::Repository,
        ];
        let taken = OnConflict::columns(key)
            .update_columns(columns.to_vec())
            .to_owned();
        Entity::insert_many(rows.to_vec())
            .on_conflict(taken)
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Whether another registry has delivered one of these blobs to the host, or was about to, since none had: then the engine may
/// have it from there. A pull that began so long ago that announcements may have been forgotten since counts as contested.
pub(crate) async fn is_contested(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    source: &Source,
    digests: &[String],
    begun: Timestamp,
    now: Timestamp,
) -> Result<bool, DbErr> {
    if now.since(begun) > ANNOUNCED_FOR / 2 {
        return Ok(true);
    }
    for digests in digests.chunks(AT_A_TIME) {
        let others = Entity::find()
            .filter(Column::HostId.eq(host_id))
            .filter(Column::Digest.is_in(digests))
            .filter(Column::Registry.ne(&*source.registry));
        if others.count(db).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets what was announced long ago and never came.
pub(crate) async fn forget_stale(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    now: Timestamp,
) -> Result<(), DbErr> {
    let stale: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Delivered.eq(false))
        .filter(Column::CreatedAt.lt(now.before(ANNOUNCED_FOR)))
        .filter(Column::HostId.eq(host_id))
        .limit(FORGOTTEN_AT_A_TIME)
        .into_tuple()
        .all(db)
        .await?;
    if stale.is_empty() {
        return Ok(());
    }
    // It may have been announced again since.
    Entity::delete_many()
        .filter(Column::Id.is_in(stale))
        .filter(Column::Delivered.eq(false))
        .filter(Column::CreatedAt.lt(now.before(ANNOUNCED_FOR)))
        .exec(db)
        .await?;
    Ok(())
}
