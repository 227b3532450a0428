//! The ledger and the audit log only grow: the database itself refuses to change or delete what is written there.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["ledger_entries", "audit_entries"];

/// The refused statements, and the level of PostgreSQL's trigger for each.
const CHANGES: [(&str, &str); 3] = [
    ("UPDATE", "ROW"),
    ("DELETE", "ROW"),
    ("TRUNCATE", "STATEMENT"),
];

/// MySQL's `ER_BINLOG_CREATE_ROUTINE_NEED_SUPER`, where it has a binary log, and `ER_TABLEACCESS_DENIED_ERROR`.
const NOT_ALLOWED: [&str; 2] = ["1419 (", "1142 ("];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (db, backend) = (manager.get_connection(), manager.get_database_backend());
        if backend == DatabaseBackend::Postgres {
            db.execute_unprepared(
                "CREATE OR REPLACE FUNCTION wharfinger_append_only() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
            )
            .await?;
        }
        for (table, (change, each)) in triggers(backend) {
            let name = name(table, change);
            let refusal = format!("{table} is append-only");
            let statement = match backend {
                DatabaseBackend::Postgres => format!(
                    "CREATE OR REPLACE TRIGGER {name} BEFORE {change} ON {table} FOR EACH {each} \
                     EXECUTE FUNCTION wharfinger_append_only()"
                ),
                DatabaseBackend::MySql => format!(
                    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {change} ON {table} FOR EACH ROW \
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{refusal}'"
                ),
                _ => format!(
                    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {change} ON {table} \
                     BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
                ),
            };
            match db.execute_unprepared(&statement).await {
                // It is append-only by what Wharfinger does, then, and not by the database.
                Err(error) if backend == DatabaseBackend::MySql && is_not_allowed(&error) => {
                    tracing::warn!(%error, statement, "this account may make no triggers, so the database will not refuse changes of a table that only grows: have its administrator run the statement");
                }
                made => {
                    made?;
                }
            }
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
            db.execute_unprepared(&gone).await?;
        }
        if backend == DatabaseBackend::Postgres {
            db.execute_unprepared("DROP FUNCTION IF EXISTS wharfinger_append_only()")
                .await?;
        }
        Ok(())
    }
}

fn is_not_allowed(error: &DbErr) -> bool {
    let error = error.to_string();
    NOT_ALLOWED.iter().any(|code| error.contains(code))
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
