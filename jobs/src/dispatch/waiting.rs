//! The jobs that wait, as the dispatcher reads them, and what it notes of them.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp};

use crate::hosts::seen_lately;
use crate::infra::db::Tries;
use crate::infra::db::sql::{Columns, Sql};
use crate::job::order;
use crate::services::Services;

/// Jobs of a host that are handed out by one statement at most.
pub(super) const AT_ONCE: usize = 16;

/// A job that is due.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: Uuid,
    pub(super) attempt: i32,
    pub(super) push: i32,
    pub(super) traceparent: Option<String>,
    pub(super) dispatched_at: Option<Timestamp>,
    pub(super) turn: i64,
    /// Name of its host.
    pub(super) host: String,
    /// How many jobs the host runs at a time.
    pub(super) concurrency: i32,
    last_seen_at: Option<Timestamp>,
    /// How many jobs the host runs now; 0 where the job was not handed out.
    running: i64,
}

impl Waiting {
    const COLUMNS: &str = "jobs.id, jobs.attempt, jobs.push, jobs.traceparent, jobs.dispatched_at, jobs.turn, hosts.name, hosts.concurrency, hosts.last_seen_at";

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let mut columns = Columns::of(row);
        Ok(Self {
            id: columns.take()?,
            attempt: columns.take()?,
            push: columns.take()?,
            traceparent: columns.take()?,
            dispatched_at: columns.take()?,
            turn: columns.take()?,
            host: columns.take()?,
            concurrency: columns.take()?,
            last_seen_at: columns.take()?,
            running: columns.take()?,
        })
    }

    /// Whether a worker of the host could take it now.
    pub(super) fn finds_a_worker(&self, services: &Services) -> bool {
        self.running < i64::from(self.concurrency) && seen_lately(services, self.last_seen_at)
    }
}

/// The hosts where jobs wait and whose queues are not paused.
pub(super) async fn hosts_with_waiting_jobs(
    services: &Services,
    only: Option<Uuid>,
) -> Result<Vec<Uuid>, DbErr> {
    let db = services.db.read();
    let mut sql = Sql::new(services.db.backend());
    sql.push("SELECT hosts.id FROM hosts WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.host_id = hosts.id AND ");
    waits(&mut sql);
    sql.push(") AND NOT EXISTS (SELECT 1 FROM paused_queues WHERE paused_queues.id = hosts.id)");
    if let Some(host_id) = only {
        sql.push(" AND hosts.id = ").bind(host_id);
    }
    let rows = db.query_all_raw(sql.statement()).await?;
    rows.iter().map(|row| Columns::of(row).take()).collect()
}

/// Appends that a job waits.
fn waits(sql: &mut Sql) {
    sql.push("jobs.live = 1 AND jobs.state IN ")
        .bind_all([JobState::Queued, JobState::Retrying]);
}

/// The jobs of a host that were handed out and no worker has claimed, and the next ones of each state in fair order: by one
/// statement, so that what another dispatcher hands out in between is counted. None where the queue is paused.
pub(super) async fn waiting(
    services: &Services,
    host_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Waiting>, DbErr> {
    let mut sql = Sql::new(services.db.backend());
    sql.push("SELECT * FROM (");
    due(&mut sql, true, host_id, now);
    // With the plus, only the index of what is handed out can be used.
    sql.push(" AND jobs.dispatched_at > 0 AND +jobs.live = 1 AND jobs.state IN ")
        .bind_all([JobState::Queued, JobState::Retrying]);
    sql.push(") AS handed_out");
    for (state, name) in [
        (JobState::Queued, "queued"),
        (JobState::Retrying, "retrying"),
    ] {
        sql.push(" UNION ALL SELECT * FROM (");
        due(&mut sql, false, host_id, now);
        sql.push(" AND jobs.live = 1 AND jobs.state = ").bind(state);
        sql.push(" AND jobs.dispatched_at IS NULL AND ")
            .push(order::NONE_BEFORE)
            .push(" ORDER BY jobs.turn, jobs.id LIMIT ");
        sql.number(AT_ONCE as u64).push(") AS ").push(name);
    }
    let rows = services.db.read().query_all_raw(sql.statement()).await?;
    rows.iter().map(Waiting::read).collect()
}

/// Appends a selection of the jobs of a host that are due, if its queue is not paused: with the number of those that run there,
/// or with 0.
fn due(sql: &mut Sql, counts: bool, host_id: Uuid, now: Timestamp) {
    sql.push("SELECT ").push(Waiting::COLUMNS);
    if counts {
        sql.push(", (SELECT COUNT(*) FROM jobs AS running WHERE running.host_id = ");
        sql.bind(host_id)
            .push(" AND running.live = 1 AND running.state = ");
        sql.bind(JobState::Running).push(")");
    } else {
        sql.push(", 0");
    }
    sql.push(" AS running");
    sql.push(" FROM jobs JOIN hosts ON hosts.id = jobs.host_id WHERE jobs.host_id = ");
    sql.bind(host_id).push(" AND jobs.run_after <= ").bind(now);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM paused_queues WHERE paused_queues.id = ");
    sql.bind(host_id).push(")");
}

/// Raises the number of each job's push, and notes when. Returns those that were as they had been read, under their new
/// numbers: the others have been claimed or cancelled, or another dispatcher hands them out. It need not wait for the disk:
/// what is forgotten is handed out again.
pub(super) async fn note(
    services: &Services,
    host_id: Uuid,
    mut jobs: Vec<Waiting>,
    now: Timestamp,
) -> Result<Vec<Waiting>, DbErr> {
    let mut tries = Tries::begin();
    let noted = loop {
        let mut sql = Sql::new(services.db.backend());
        sql.push("UPDATE jobs SET push = push + 1, dispatched_at = ")
            .bind(now);
        // Of two that note the same jobs in different orders, PostgreSQL ends one only after a second.
        let skips = services.db.backend() == DbBackend::Postgres;
        let rows = if skips {
            "jobs.id IN (SELECT jobs.id FROM jobs WHERE "
        } else {
            ""
        };
        sql.push(" WHERE ").push(rows).push("jobs.host_id = ");
        sql.bind(host_id).push(" AND ");
        waits(&mut sql);
        sql.push(" AND jobs.run_after <= ").bind(now).push(" AND ");
        as_read(&mut sql, &jobs);
        if skips {
            sql.push(" FOR NO KEY UPDATE SKIP LOCKED)");
        }
        match services.db.relaxed().execute_raw(sql.statement()).await {
            Err(error) if tries.again(&error).await => {}
            noted => break noted?.rows_affected(),
        }
    };
    let all = noted == jobs.len() as u64;
    for job in &mut jobs {
        job.push += 1;
    }
    if !all && noted > 0 {
        let mut sql = Sql::new(services.db.backend());
        sql.push("SELECT jobs.id FROM jobs WHERE jobs.dispatched_at = ")
            .bind(now)
            .push(" AND ");
        as_read(&mut sql, &jobs);
        let rows = services.db.read().query_all_raw(sql.statement()).await?;
        let ids: Result<Vec<Uuid>, _> = rows.iter().map(|row| Columns::of(row).take()).collect();
        let ids = ids?;
        jobs.retain(|job| ids.contains(&job.id));
    } else if !all {
        jobs.clear();
    }
    Ok(jobs)
}

/// Appends that a job is one of these, with the same number of attempts and pushes.
fn as_read(sql: &mut Sql, jobs: &[Waiting]) {
    for (number, job) in jobs.iter().enumerate() {
        sql.push(if number == 0 { "(" } else { " OR " });
        sql.push("(jobs.id = ").bind(job.id);
        sql.push(" AND jobs.attempt = ").bind(job.attempt);
        sql.push(" AND jobs.push = ").bind(job.push).push(")");
    }
    sql.push(")");
}
