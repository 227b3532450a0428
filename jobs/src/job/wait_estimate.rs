//! When a user who has too many jobs may come back: nobody knows, but how long jobs take lately tells about when.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, job};

/// How many jobs tell how long one takes.
const LATEST: u64 = 20;

/// How long one takes where nothing is known.
const UNKNOWN: Duration = Duration::from_secs(30);

/// What is said at least: one that takes longer than usual ends nobody knows when.
const LEAST: Duration = Duration::from_secs(5);

/// Seconds until one of this user's live jobs should have ended: what the median of their last ones took from acceptance
/// to end, less what the oldest live one has had of it.
pub(crate) async fn in_seconds(
    tx: &impl ConnectionTrait,
    user_id: Uuid,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let ended: Vec<(Timestamp, Option<Timestamp>)> = job::Entity::find()
        .select_only()
        .columns([job::Column::AcceptedAt, job::Column::FinishedAt])
        .filter(job::Column::UserId.eq(user_id))
        .filter(job::Column::Live.is_null())
        .order_by_desc(job::Column::Id)
        .limit(LATEST)
        .into_tuple()
        .all(tx)
        .await?;
    let oldest: Option<Timestamp> = job::Entity::find()
        .select_only()
        .column(job::Column::AcceptedAt)
        .filter(job::Column::UserId.eq(user_id))
        .filter(job::Column::Live.eq(1))
        .order_by_asc(job::Column::AcceptedAt)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    let took = ended
        .into_iter()
        .filter_map(|(accepted, finished)| finished.map(|end| end.since(accepted)))
        .collect();
    let had = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
    let left = median(took).unwrap_or(UNKNOWN).saturating_sub(had);
    Ok(left.max(LEAST).as_secs())
}

fn median(mut of: Vec<Duration>) -> Option<Duration> {
    of.sort_unstable();
    of.get(of.len() / 2).copied()
}
