//! The rows: blobs that a repository is to deliver to a host's engine, and blobs that it has delivered.

use std::time::Duration;

use sea_orm::sea_query::{Expr, OnConflict, UnionType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QuerySelect, QueryTrait as _,
};
use uuid::Uuid;
use wharfinger_entity::Timestamp;
use wharfinger_entity::blob_origin::{ActiveModel, Column, Entity};

use super::{Known, Source};
use crate::infra::db::Tries;

/// Digests in one statement, because databases limit its parameters.
const AT_A_TIME: usize = 200;

/// Announcements that are deleted at a time.
const FORGOTTEN_AT_A_TIME: u64 = 1000;

/// The instant before which announcements do not count for a pull that began at `begun`: the pulls that made them had ended
/// by then, each within `pull_timeout`.
pub(crate) fn announced_since(begun: Timestamp, pull_timeout: Duration) -> Timestamp {
    begun.before(pull_timeout * 2)
}

/// The rows of these blobs: of the source on any host, of other repositories on this host, and of blobs that came without a
/// login anywhere. Announcements count from `since` on.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    source: &Source,
    digests: &[String],
    since: Timestamp,
) -> Result<Vec<Known>, DbErr> {
    let mut found = Vec::new();
    for digests in digests.chunks(AT_A_TIME) {
        let of_these = || {
            let digest = Entity::find().select_only().column(Column::Digest);
            digest.filter(Column::Digest.is_in(digests))
        };
        let is = |yes: bool| Expr::cust(if yes { "TRUE" } else { "FALSE" });
        let mut own = of_these()
            .columns([Column::DiffId, Column::Delivered, Column::Anonymous])
            .expr_as(Column::HostId.eq(host_id), "here")
            .expr_as(is(true), "own")
            .filter(is_of(source));
        let free = of_these()
            .column(Column::DiffId)
            .exprs([is(true), is(true), is(false), is(false)])
            .filter(Column::Delivered.eq(true))
            .filter(Column::Anonymous.eq(true))
            .distinct();
        let elsewhere = of_these()
            .exprs([
                Expr::cust("NULL"),
                is(false),
                is(false),
                is(true),
                is(false),
            ])
            .filter(is_of_others(host_id, source, since))
            .distinct();
        // One statement for all, in the order of the fields of `Known`.
        let all = QuerySelect::query(&mut own);
        all.union(UnionType::All, free.into_query());
        all.union(UnionType::All, elsewhere.into_query());
        found.extend(own.into_model::<Known>().all(db).await?);
    }
    Ok(found)
}

fn is_of(source: &Source) -> Condition {
    Condition::all()
        .add(Column::Registry.eq(&*source.registry))
        .add(Column::Repository.eq(&*source.repository))
}

/// Condition: another repository has delivered the blob to the host, or has announced it since.
fn is_of_others(host_id: Uuid, source: &Source, since: Timestamp) -> Condition {
    let counts = Condition::any()
        .add(Column::Delivered.eq(true))
        .add(Column::CreatedAt.gte(since));
    Condition::all()
        .add(Column::HostId.eq(host_id))
        .add(is_of(source).not())
        .add(counts)
}

/// Records that a pull is about to bring these blobs from a source, before the engine is asked. Pulls of other sources that
/// are under way read it when they end.
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

/// Records that a source has delivered each blob whole, and its digest uncompressed where that is known.
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
        // What an earlier row says is kept.
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

/// Inserts rows, some at a time: each row says something by itself. Where one exists, updates these columns of it.
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
        let mut tries = Tries::begin();
        loop {
            let insert = Entity::insert_many(rows.to_vec()).on_conflict(taken.clone());
            match insert.exec_without_returning(db).await {
                Err(error) if tries.again(&error).await => {}
                inserted => {
                    inserted?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Whether another repository has delivered one of these blobs to the host, or was about to, since none had: then the engine
/// may have it from there. Two repositories of one registry count as two: their readers may differ. Announcements count from
/// `since` on, as when the pull began.
pub(crate) async fn is_contested(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    source: &Source,
    digests: &[String],
    since: Timestamp,
) -> Result<bool, DbErr> {
    for digests in digests.chunks(AT_A_TIME) {
        let others = Entity::find()
            .filter(Column::Digest.is_in(digests))
            .filter(is_of_others(host_id, source, since));
        if others.count(db).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes announcements from before an instant that were never delivered.
pub(crate) async fn forget_stale(
    db: &impl ConnectionTrait,
    host_id: Uuid,
    before: Timestamp,
) -> Result<(), DbErr> {
    let stale: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Delivered.eq(false))
        .filter(Column::CreatedAt.lt(before))
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
        .filter(Column::CreatedAt.lt(before))
        .exec(db)
        .await?;
    Ok(())
}
