//! Whether a statement failed for what it was to store.

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// Whether the database refuses the data: a character or length that a column cannot have, a constraint, a number out of range.
/// The same statement fails again, however often it is run. Whatever else a database says is its own trouble, and may pass.
pub(crate) fn refuses_data(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(DatabaseError::code);
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
