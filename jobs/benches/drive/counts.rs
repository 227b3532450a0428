//! What the servers were asked, by their own count.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::Outcome;
use crate::environment::variable;

/// Statements and commits of a database, and commands of Redis, since they started.
pub(crate) struct Counts {
    statements: i64,
    commits: i64,
    commands: i64,
}

impl Counts {
    pub(crate) async fn now(database: &DatabaseConnection) -> Outcome<Self> {
        let client = redis::Client::open(variable("WHARFINGER_TEST_REDIS_URL")?)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let stats: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut connection)
            .await?;
        let commands = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_commands_processed:"))
            .ok_or("Redis does not count its commands")?;
        // What begins and ends a transaction is no work of its own.
        let statements = "SELECT COALESCE(SUM(calls), 0)::bigint AS n FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
            WHERE d.datname = current_database() AND query !~* '^(begin|commit|rollback|set |start)'";
        let commits = "SELECT COALESCE(SUM(calls), 0)::bigint AS n FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
            WHERE d.datname = current_database() AND query ~* '^commit'";
        Ok(Self {
            statements: number(database, statements).await?,
            commits: number(database, commits).await?,
            commands: commands.trim().parse()?,
        })
    }

    /// Since `earlier`, for each of `jobs`.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub(crate) fn per_job(&self, earlier: &Self, jobs: usize) -> String {
        let each = |now: i64, then: i64| (now - then) as f64 / jobs as f64;
        format!(
            "{:.1} statements in the database, {:.1} commits of several, {:.1} Redis commands (those inside of scripts included)",
            each(self.statements, earlier.statements),
            each(self.commits, earlier.commits),
            each(self.commands, earlier.commands)
        )
    }
}

/// Begins counting statements in a database.
pub(crate) async fn begin(database: &DatabaseConnection) -> Outcome {
    database
        .execute_unprepared("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .await?;
    Ok(())
}

async fn number(database: &DatabaseConnection, sql: &str) -> Outcome<i64> {
    let row = database
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await?;
    Ok(row.ok_or("no row")?.try_get("", "n")?)
}
