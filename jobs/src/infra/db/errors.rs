//! The meaning of a database error: whether to try again, whether the database is unavailable, or refuses the data.

use std::io;

use sea_orm::sqlx;
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnAcquireErr, DbBackend, DbErr, RuntimeErr, SqlErr};

/// The error of an answer that did not come in time.
pub(crate) fn late() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the database did not answer in time",
    ))
}

/// The error of a connection that could not be had.
pub(crate) fn acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}

/// The error of a statement that changes something.
pub(crate) fn executed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

/// The error of a statement that asks for rows.
pub(crate) fn queried(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// Whether the database answered so, and its connection can be used again.
pub(crate) fn is_answer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if trouble_of(error.as_ref()).is_none())
}

/// Whether a transaction goes on after this error of one of its statements.
pub(crate) fn spares_the_transaction(backend: DbBackend, error: &sqlx::Error) -> bool {
    backend != DbBackend::Postgres
        && matches!(error, sqlx::Error::Database(error) if !matches!(error.kind(), ErrorKind::Other))
}

/// The error of sqlx in this one.
fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// The database's own words in this error.
fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    sqlx_error(error).and_then(sqlx::Error::as_database_error)
}

/// Whether the database cannot be used now, which may pass by itself: it is away or silent, shutting down, has no more
/// connections, or its disk is full.
pub fn is_unavailable(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        error => sqlx_error(error).is_some_and(is_out_of_order),
    }
}

/// Whether it is an error of a database that cannot be used now.
pub(crate) fn is_out_of_order(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => trouble_of(error.as_ref()).is_some(),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether the database says that it cannot store anything: its disk is full or broken, or it is read-only.
pub(crate) fn cannot_store(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    matches!(error.and_then(trouble_of), Some(Trouble::Storing))
}

/// Why a database says that it cannot work.
enum Trouble {
    /// It can store nothing.
    Storing,
    /// Anything else.
    Other,
}

fn trouble_of(error: &(dyn DatabaseError + 'static)) -> Option<Trouble> {
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return match error.number() {
            // Cannot write (3, 1026), no space (1021, 1114), read-only (1290, 1836).
            3 | 1021 | 1026 | 1114 | 1290 | 1836 => Some(Trouble::Storing),
            // An error of the storage engine, at COMMIT too: EIO, ENOSPC, EROFS, EDQUOT.
            1030 | 1180 | 1181 => ["error 5 ", "error 28 ", "error 30 ", "error 122 "]
                .iter()
                .any(|errno| error.message().contains(errno))
                .then_some(Trouble::Storing),
            // Out of memory or resources (1037, 1038, 1041), no more connections (1040, 1203), shutting down (1053, 1927, 4031).
            1037 | 1038 | 1040 | 1041 | 1053 | 1203 | 1927 | 4031 => Some(Trouble::Other),
            _ => None,
        };
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return match &*code {
            // disk_full, read_only_sql_transaction
            "53100" | "25006" => Some(Trouble::Storing),
            // Shutting down, ended for standing still.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Some(Trouble::Other),
            // Classes: system error; connection, insufficient resources.
            code if code.starts_with("58") => Some(Trouble::Storing),
            code if code.starts_with("08") || code.starts_with("53") => Some(Trouble::Other),
            _ => None,
        };
    }
    // SQLite's primary code is the lowest byte: out of memory, read-only, I/O error, full, cannot open.
    let primary = code.parse::<u32>().map(|code| code & 0xff);
    matches!(primary, Ok(7 | 8 | 10 | 13 | 14)).then_some(Trouble::Storing)
}

/// Whether running the whole transaction again may help: a deadlock, a lost race of snapshots, or a lock not had in time.
pub(crate) fn is_transient(error: &DbErr) -> bool {
    // Another transaction inserted the same row a moment ago: the next try finds it.
    if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
        return true;
    }
    let Some(error) = database_error(error) else {
        return false;
    };
    match error.code().as_deref() {
        // PostgreSQL: serialization_failure, deadlock_detected. MySQL's SQLSTATE for a deadlock is 40001 too.
        // SQLite: SQLITE_BUSY and its extended codes.
        Some("40001" | "40P01" | "5" | "261" | "517") => true,
        // MySQL: lock wait timeout (1205) comes as a general error; record changed since last read (1020).
        _ => {
            error.message().contains("Lock wait timeout")
                || error.message().contains("Record has changed since")
        }
    }
}

/// The error of a row that another transaction has locked.
const LOCKED: &str = "another transaction has the row locked";

/// Tells a row that could not be locked at once from other errors.
pub(crate) fn locked(error: DbErr) -> DbErr {
    let locked = database_error(&error).is_some_and(|answer| {
        match answer.try_downcast_ref::<MySqlDatabaseError>() {
            // MariaDB calls it a timeout, MySQL has a number for it.
            Some(answer) => matches!(answer.number(), 1205 | 3572),
            // lock_not_available
            None => answer.code().as_deref() == Some("55P03"),
        }
    });
    if locked {
        DbErr::Custom(LOCKED.to_owned())
    } else {
        error
    }
}

/// Whether a row was not waited for because another transaction has it locked.
pub(crate) fn is_locked(error: &DbErr) -> bool {
    matches!(error, DbErr::Custom(message) if message == LOCKED)
}

/// Whether the server ended a statement because it took too long.
pub fn timed_out(error: &DbErr) -> bool {
    database_error(error).is_some_and(|error| {
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

/// Whether the database refuses the data: a character or length that a column cannot have, a constraint, a number out of range.
/// The same statement fails again, however often it is run. Whatever else a database says is its own trouble, and may pass.
pub(crate) fn refuses_data(error: &DbErr) -> bool {
    let code = database_error(error).and_then(DatabaseError::code);
    code.is_some_and(|code| is_of_data(&code))
}

/// Classes 22 (data exception) and 23 (integrity constraint violation) of SQLSTATE, which PostgreSQL and MySQL tell, and SQLite's
/// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT`, `SQLITE_MISMATCH` with their extended codes.
fn is_of_data(code: &str) -> bool {
    if code.len() == 5 {
        return code.starts_with("22") || code.starts_with("23");
    }
    let primary = code.parse::<u32>().map(|code| code & 0xff);
    matches!(primary, Ok(18..=20))
}

/// Whether running the same transaction again may help.
pub(crate) trait Transient {
    fn is_transient(&self) -> bool;
}

impl Transient for DbErr {
    fn is_transient(&self) -> bool {
        is_transient(self)
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_data;

    #[test]
    fn what_a_database_refuses() {
        // NUL in a text, \\u0000 in JSON, too long, not null, unique, check; SQLite's constraints by a check and a trigger.
        for code in [
            "22021", "22P05", "22001", "23502", "23505", "23514", "23000", "19", "275", "1811",
            "18",
        ] {
            assert!(is_of_data(code), "{code}");
        }
        // Deadlock, disk full, shutdown, MySQL's general error; SQLite's busy, disk full and I/O error.
        for code in [
            "40001", "40P01", "53100", "57P01", "HY000", "5", "517", "13", "10", "778", "",
        ] {
            assert!(!is_of_data(code), "{code}");
        }
    }
}
