//! The ledger and the audit log only grow: the database itself refuses to change or delete what is written there.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["ledger_entries", "audit_entries"];

/// What is refused, and how PostgreSQL looks at it.
const CHANGES: [(&str, &str); 3] = [
    ("UPDATE", "ROW"),
    ("DELETE", "ROW"),
    ("TRUNCATE", "STATEMENT"),
];

/// MySQL's `ER_BINLOG_CREATE_ROUTINE_NEED_SUPER`: with a binary log it lets only some accounts make triggers.
const NOT_ALLOWED: &str = "1419";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Made anew where this is run again.
        self.down(manager).await?;
        let (db, backend) = (manager.get_connection(), manager.get_database_backend());
        if backend == DatabaseBackend::Postgres {
            db.execute_unprepared(
                "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
            )
            .await?;
        }
        for (table, (change, each)) in triggers(backend) {
            let name = name(table, change);
            let refusal = format!("{table} is append-only");
            let made = match backend {
                DatabaseBackend::Postgres => format!(
                    "CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH {each} EXECUTE FUNCTION append_only()"
                ),
                DatabaseBackend::MySql => format!(
                    "CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH ROW \
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{refusal}'"
                ),
                _ => format!(
                    "CREATE TRIGGER {name} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
                ),
            };
            if_allowed(db.execute_unprepared(&made).await)?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (db, backend) = (manager.get_connection(), manager.get_database_backend());
        for (table, (change, _)) in triggers(backend) {
            let on = match backend {
                DatabaseBackend::Postgres => format!(" ON {table}"),
                _ => String::new(),
            };
            let gone = format!("DROP TRIGGER IF EXISTS {}{on}", name(table, change));
            if_allowed(db.execute_unprepared(&gone).await)?;
        }
        if backend == DatabaseBackend::Postgres {
            db.execute_unprepared("DROP FUNCTION IF EXISTS append_only()")
                .await?;
        }
        Ok(())
    }
}

/// Without triggers the tables are append-only by what Wharfinger does, and not by the database.
fn if_allowed<T>(changed: Result<T, DbErr>) -> Result<(), DbErr> {
    match changed {
        Err(error) if error.to_string().contains(NOT_ALLOWED) => {
            tracing::warn!(%error, "the database lets this account make no triggers, so it will not refuse changes of ledger and audit log: set log_bin_trust_function_creators, then migrate down and up");
            Ok(())
        }
        changed => changed.map(drop),
    }
}

/// Only PostgreSQL has triggers for TRUNCATE.
fn triggers(
    backend: DatabaseBackend,
) -> impl Iterator<Item = (&'static str, (&'static str, &'static str))> {
    let has = move |change: &&(&str, &str)| {
        backend == DatabaseBackend::Postgres || change.0 != "TRUNCATE"
    };
    TABLES.into_iter().flat_map(move |table| {
        CHANGES
            .iter()
            .filter(has)
            .map(move |change| (table, *change))
    })
}

fn name(table: &str, change: &str) -> String {
    format!("{table}_no_{}", change.to_lowercase())
}
