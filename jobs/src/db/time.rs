//! How long one statement of a request may take. Whoever waits for a statement and goes away does not end it: the server
//! has to.

use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _};
use sea_orm::{ConnectOptions, DbErr, RuntimeErr};

/// Makes the server end the statements of these connections after `limit`, waits for locks included.
pub(super) fn limit(options: &mut ConnectOptions, limit: Duration) {
    options.statement_timeout(limit);
    options.map_sqlx_mysql_pool_opts(move |options| {
        let options = super::rolled_back(options);
        options.after_connect(move |connection, _| Box::pin(limit_mysql(connection, limit)))
    });
}

/// MariaDB's `max_statement_time` is for every statement. MySQL's is only for reading: for its other statements there is
/// the time that they may wait for a row.
async fn limit_mysql(connection: &mut MySqlConnection, limit: Duration) -> Result<(), sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(&mut *connection)
        .await?;
    let set = if version.contains("MariaDB") {
        format!("SET SESSION max_statement_time = {}", limit.as_secs_f64())
    } else {
        format!(
            "SET SESSION max_execution_time = {}, innodb_lock_wait_timeout = {}",
            limit.as_millis(),
            limit.as_secs().max(1)
        )
    };
    connection.execute(AssertSqlSafe(set)).await?;
    Ok(())
}

/// Whether the server ended a statement because it took too long.
pub fn timed_out(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    error.as_database_error().is_some_and(|error| {
        let message = error.message();
        match error.code().as_deref() {
            // PostgreSQL: query_canceled, for which there is more than one reason.
            Some("57014") => message.contains("statement timeout"),
            // MariaDB 1969, MySQL 3024.
            _ => {
                message.contains("max_statement_time exceeded")
                    || message.contains("maximum statement execution time exceeded")
            }
        }
    })
}
