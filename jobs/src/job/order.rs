//! A place in the fair order of a host (ADR 0003).

use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, paused_queue};

use crate::infra::db::sql::{Columns, Sql};

/// What decides about a place in the fair order of a host: turns of live jobs there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// The user's last one.
    own: Option<i64>,
    /// The lowest that waits for its first try.
    queued: Option<i64>,
    /// The lowest that is due to be tried again.
    due: Option<i64>,
    /// The highest of those that run or are to be tried again.
    last: Option<i64>,
}

impl Turns {
    /// Appends what [`Self::read`] reads, for a selection from `hosts`.
    pub(crate) fn columns(sql: &mut Sql, user_id: Uuid, now: Timestamp) {
        const OF_HOST: &str =
            " FROM jobs WHERE jobs.host_id = hosts.id AND jobs.live = 1 AND jobs.state ";
        sql.push("(SELECT MAX(jobs.turn) FROM jobs WHERE jobs.user_id = ");
        sql.bind(user_id);
        sql.push(" AND jobs.live = 1 AND jobs.host_id = hosts.id), (SELECT jobs.turn");
        sql.push(OF_HOST).push("= ").bind(JobState::Queued);
        // MariaDB finds the lowest by the index when it is asked so.
        sql.push(" ORDER BY jobs.turn LIMIT 1), (SELECT MIN(jobs.turn)");
        sql.push(OF_HOST).push("= ").bind(JobState::Retrying);
        sql.push(" AND jobs.run_after <= ").bind(now);
        sql.push("), (SELECT MAX(jobs.turn)");
        sql.push(OF_HOST).push("IN ");
        sql.bind_all([JobState::Running, JobState::Retrying])
            .push(")");
    }

    pub(crate) fn read(columns: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok(Self {
            own: columns.take()?,
            queued: columns.take()?,
            due: columns.take()?,
            last: columns.take()?,
        })
    }

    /// The place of a coming try in the fair order of its host: one after the user's last one, but never before the turn that
    /// is being served, so that a user who comes late neither waits for another's thousand jobs nor overtakes those who
    /// have waited (start-time fair queueing with every try of the same length). Lower ones come first.
    pub(crate) fn place(self) -> i64 {
        let waiting = [self.queued, self.due].into_iter().flatten().min();
        // Where every job runs, or waits for a time to come, the turn that is being served is the last that was.
        let served = waiting.or(self.last).unwrap_or(0);
        Ord::max(self.own.map_or(0, |turn| turn + 1), served)
    }
}

/// The place of a coming try of a user on a host ([`Turns::place`]).
pub(crate) async fn place(
    tx: &impl ConnectionTrait,
    user_id: Uuid,
    host_id: Uuid,
    now: Timestamp,
) -> Result<i64, DbErr> {
    let mut sql = Sql::new(tx.get_database_backend());
    sql.push("SELECT ");
    Turns::columns(&mut sql, user_id, now);
    sql.push(" FROM hosts WHERE hosts.id = ").bind(host_id);
    let row = tx.query_one_raw(sql.statement()).await?;
    row.map_or(
        Ok(0),
        |row| Ok(Turns::read(&mut Columns::of(&row))?.place()),
    )
}

/// A condition on `jobs`, in the SQL of every database: no earlier job of its user on the same (host, reference) has still to
/// end. They run in order: the dispatcher hands none out before, and no claim takes one.
///
/// As a value and not as NOT EXISTS, which PostgreSQL joins with all that wait before it takes the first. And ordered, so that it
/// takes the index that has this order: where it has not counted the rows yet, all look equally good to it.
pub(crate) const NONE_BEFORE: &str = "(SELECT 1 FROM jobs AS earlier \
     WHERE earlier.user_id = jobs.user_id AND earlier.live = 1 AND earlier.host_id = jobs.host_id \
     AND earlier.reference = jobs.reference AND earlier.ordinal < jobs.ordinal \
     ORDER BY earlier.ordinal LIMIT 1) IS NULL";

/// Selects the pause of a host's queue.
pub(crate) fn paused(host_id: Uuid) -> SelectStatement {
    Query::select()
        .expr(Expr::value(1))
        .from(paused_queue::Entity)
        .and_where(Expr::col((paused_queue::Entity, paused_queue::Column::Id)).eq(host_id))
        .to_owned()
}
