//! A place in the fair order of a host (ADR 0003).

use sea_orm::sea_query::{
    Alias, Expr, ExprTrait, Func, FunctionCall, Query, SelectStatement, SubQueryStatement,
};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, job, paused_queue};

/// The place of a coming try in the fair order of its host: one after the user's last one, but never before the turn that
/// is being served, so that a user who comes late neither waits for another's thousand jobs nor overtakes those who
/// have waited (start-time fair queueing with every try of the same length). Lower ones come first.
pub(crate) async fn place(
    tx: &impl ConnectionTrait,
    user_id: Uuid,
    host_id: Uuid,
    now: Timestamp,
) -> Result<i64, DbErr> {
    let own: Option<i64> = job::Entity::find()
        .select_only()
        .expr(Func::max(Expr::col(job::Column::Turn)))
        .filter(job::Column::UserId.eq(user_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::HostId.eq(host_id))
        .into_tuple::<Option<i64>>()
        .one(tx)
        .await?
        .flatten();
    let row = tx.query_one(&turns(host_id, now)).await?;
    let turn = |name| match &row {
        Some(row) => row.try_get::<Option<i64>>("", name),
        None => Ok(None),
    };
    let waiting = [turn(QUEUED)?, turn(DUE)?].into_iter().flatten().min();
    // Where every job runs, or waits for a time to come, the turn that is being served is the last that was.
    let served = waiting.or(turn(LAST)?).unwrap_or(0);
    Ok(Ord::max(own.map_or(0, |turn| turn + 1), served))
}

/// Selects the earlier jobs of a job's user on the same (host, reference) that have not ended: they run in order.
pub(crate) fn predecessor() -> SelectStatement {
    let earlier = Alias::new("earlier");
    let column = |column: job::Column| (earlier.clone(), column);
    let own = |column: job::Column| (job::Entity, column);
    Query::select()
        .expr(Expr::value(1))
        .from_as(job::Entity, earlier.clone())
        .and_where(Expr::col(column(job::Column::UserId)).equals(own(job::Column::UserId)))
        .and_where(Expr::col(column(job::Column::Live)).eq(1))
        .and_where(Expr::col(column(job::Column::HostId)).equals(own(job::Column::HostId)))
        .and_where(Expr::col(column(job::Column::Reference)).equals(own(job::Column::Reference)))
        .and_where(Expr::col(column(job::Column::Ordinal)).lt(Expr::col(own(job::Column::Ordinal))))
        .to_owned()
}

/// Selects the pause of a host's queue.
pub(crate) fn paused(host_id: Uuid) -> SelectStatement {
    Query::select()
        .expr(Expr::value(1))
        .from(paused_queue::Entity)
        .and_where(Expr::col((paused_queue::Entity, paused_queue::Column::Id)).eq(host_id))
        .to_owned()
}

const QUEUED: &str = "queued";
const DUE: &str = "due";
const LAST: &str = "last";

/// Selects the lowest turn of a host that waits for its first try, the lowest that is due to be tried again, and the highest
/// of those that run or are to be tried again.
fn turns(host_id: Uuid, now: Timestamp) -> SelectStatement {
    let of_host = |turn: FunctionCall| {
        let mut select = Query::select();
        select
            .expr(turn)
            .from(job::Entity)
            .and_where(job::Column::HostId.eq(host_id))
            .and_where(job::Column::Live.eq(1));
        select
    };
    let turn = || Expr::col(job::Column::Turn);
    let queued = of_host(Func::min(turn()))
        .and_where(job::Column::State.eq(JobState::Queued))
        .to_owned();
    let due = of_host(Func::min(turn()))
        .and_where(job::Column::State.eq(JobState::Retrying))
        .and_where(job::Column::RunAfter.lte(now))
        .to_owned();
    let last = of_host(Func::max(turn()))
        .and_where(job::Column::State.is_in([JobState::Running, JobState::Retrying]))
        .to_owned();
    let mut all = Query::select();
    for (name, select) in [(QUEUED, queued), (DUE, due), (LAST, last)] {
        let select = SubQueryStatement::SelectStatement(select);
        all.expr_as(Expr::SubQuery(None, Box::new(select)), name);
    }
    all
}
