//! Column and table shapes that every migration uses, so that they are the same on every database.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

/// A table with its primary key `id`. MariaDB compares text by its bytes, as the other two do.
pub(crate) fn table(manager: &SchemaManager<'_>, name: &'static str) -> TableCreateStatement {
    let mut table = Table::create();
    // A migration that was interrupted, or that another process runs at the same time, is gone through again.
    table
        .table(name)
        .if_not_exists()
        .col(ColumnDef::new("id").uuid().not_null().primary_key());
    if manager.get_database_backend() == DatabaseBackend::MySql {
        table
            .engine("InnoDB")
            .character_set("utf8mb4")
            .collate("utf8mb4_bin");
    }
    table
}

/// Text of at most `length` characters.
pub(crate) fn text(name: &'static str, length: u32) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(length).not_null();
    column
}

/// Text of at most `length` characters, or nothing.
pub(crate) fn text_or_null(name: &'static str, length: u32) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.string_len(length).null();
    column
}

/// A reference to another row.
pub(crate) fn id(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.uuid().not_null();
    column
}

/// A reference to another row, or nothing.
pub(crate) fn id_or_null(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.uuid().null();
    column
}

/// A whole number of 64 bits: an amount, a size or an instant.
pub(crate) fn whole(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().not_null();
    column
}

/// A whole number of 64 bits, or nothing.
pub(crate) fn whole_or_null(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().null();
    column
}

/// A whole number of 32 bits.
pub(crate) fn small(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.integer().not_null();
    column
}

/// Yes or no.
pub(crate) fn flag(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.boolean().not_null();
    column
}

/// Yes, no or unknown.
pub(crate) fn flag_or_null(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.boolean().null();
    column
}

/// 1 while the row is alive, NULL after: part of a unique key that only the living share.
pub(crate) fn live() -> ColumnDef {
    let mut column = ColumnDef::new("live");
    column.small_integer().null();
    column
}

/// A JSON value.
pub(crate) fn json(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.json().not_null();
    column
}

/// A foreign key from `column` to the `id` of `parent`.
pub(crate) fn references(
    table: &'static str,
    column: &'static str,
    parent: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{column}"))
        .from(table, column)
        .to(parent, "id")
        .to_owned()
}

/// An index that is made once.
pub(crate) struct NamedIndex {
    table: &'static str,
    name: String,
    statement: IndexCreateStatement,
}

/// An index over `columns`, in that order.
pub(crate) fn index(table: &'static str, columns: &[&'static str]) -> NamedIndex {
    named("ix", table, columns)
}

/// A unique key over `columns`.
pub(crate) fn unique(table: &'static str, columns: &[&'static str]) -> NamedIndex {
    let mut index = named("ux", table, columns);
    index.statement.unique();
    index
}

fn named(prefix: &str, table: &'static str, columns: &[&'static str]) -> NamedIndex {
    let name = format!("{prefix}_{table}_{}", columns.join("_"));
    let mut statement = Index::create();
    statement.name(&name).table(table);
    for column in columns {
        statement.col(*column);
    }
    NamedIndex {
        table,
        name,
        statement,
    }
}

/// Creates a table and its indexes, as far as they are not there.
pub(crate) async fn create(
    manager: &SchemaManager<'_>,
    table: &TableCreateStatement,
    indexes: Vec<NamedIndex>,
) -> Result<(), DbErr> {
    manager.create_table(table.to_owned()).await?;
    for index in indexes {
        create_index(manager, index).await?;
    }
    Ok(())
}

/// Creates an index that is not there.
pub(crate) async fn create_index(
    manager: &SchemaManager<'_>,
    index: NamedIndex,
) -> Result<(), DbErr> {
    // MySQL has no CREATE INDEX IF NOT EXISTS.
    if manager.has_index(index.table, &index.name).await? {
        return Ok(());
    }
    manager.create_index(index.statement).await
}

/// Drops an index that is there.
pub(crate) async fn drop_index(
    manager: &SchemaManager<'_>,
    index: &NamedIndex,
) -> Result<(), DbErr> {
    if !manager.has_index(index.table, &index.name).await? {
        return Ok(());
    }
    let drop = Index::drop()
        .name(&index.name)
        .table(index.table)
        .to_owned();
    manager.drop_index(drop).await
}

/// Adds a column that is not there.
pub(crate) async fn add_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: ColumnDef,
) -> Result<(), DbErr> {
    if manager.has_column(table, column.get_column_name()).await? {
        return Ok(());
    }
    let add = Table::alter().table(table).add_column(column).to_owned();
    manager.alter_table(add).await
}

/// Drops a column that is there.
pub(crate) async fn drop_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<(), DbErr> {
    // As when it is added: a migration that was interrupted is gone through again.
    if !manager.has_column(table, column).await? {
        return Ok(());
    }
    let drop = Table::alter().table(table).drop_column(column).to_owned();
    manager.alter_table(drop).await
}

/// Drops tables, in the order given.
pub(crate) async fn drop(
    manager: &SchemaManager<'_>,
    tables: &[&'static str],
) -> Result<(), DbErr> {
    for table in tables {
        manager
            .drop_table(Table::drop().table(*table).to_owned())
            .await?;
    }
    Ok(())
}
