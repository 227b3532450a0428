//! `api/docs/tables.md` is made from the schema: from the catalogue of an SQLite database that all migrations have made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use regex::Regex;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, QueryResult,
    Statement,
};
use wharfinger_migration::{Migrator, MigratorTrait as _};

use crate::{assert_current, root};

const PAGE: &str = "api/docs/tables.md";

const HEAD: &str = "# Tables

<!-- Made from the schema by `make docs`: a change is a new migration, and a comment in entity/src. -->

The tables as all migrations make them, with SQLite's names of the types. PostgreSQL and MariaDB have the same tables and columns.
A line between two tables is a foreign key, with the name of its column. Instants are microseconds since 1970, UTC, and amounts
millionths of a credit ([0001](adr/0001-whole-numbers.md)). What a column means stands in the table's file in
[`entity/src`](../../entity/src), which is named after the table in the singular.

";

/// Names of the tables, without SQLite's and the migrator's own.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                      AND name <> 'seaql_migrations' ORDER BY name";

/// A column of a table.
struct Column {
    name: String,
    of_type: String,
    nullable: bool,
    primary: bool,
    /// The table whose `id` it has.
    parent: Option<String>,
}

/// A table of the catalogue.
struct Table {
    name: String,
    columns: Vec<Column>,
    /// The columns of each unique key but the primary one.
    unique: BTreeSet<Vec<String>>,
}

impl Table {
    fn is_unique(&self, column: &Column) -> bool {
        column.primary || self.unique.contains(&vec![column.name.clone()])
    }
}

async fn rows(database: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    database.query_all_raw(statement).await.unwrap()
}

fn text(row: &QueryResult, column: &str) -> String {
    row.try_get("", column).unwrap()
}

async fn table(database: &DatabaseConnection, name: String) -> Table {
    let foreign = format!(
        "SELECT \"from\" AS child, \"table\" AS parent FROM pragma_foreign_key_list('{name}')"
    );
    let foreign = rows(database, &foreign).await;
    let mut parents: BTreeMap<String, String> = foreign
        .iter()
        .map(|row| (text(row, "child"), text(row, "parent")))
        .collect();
    let columns = format!(
        "SELECT name, type AS of_type, \"notnull\" AS set_always, pk FROM pragma_table_info('{name}') ORDER BY cid"
    );
    let column = |row: &QueryResult| {
        let name = text(row, "name");
        let parent = parents.remove(&name);
        Column {
            parent,
            name,
            of_type: text(row, "of_type").to_lowercase().replace("_text", ""),
            nullable: row.try_get::<i64>("", "set_always").unwrap() == 0,
            primary: row.try_get::<i64>("", "pk").unwrap() != 0,
        }
    };
    let columns = rows(database, &columns).await.iter().map(column).collect();
    let keys = format!(
        "SELECT i.name AS key, c.name AS part FROM pragma_index_list('{name}') i, pragma_index_info(i.name) c \
         WHERE i.\"unique\" AND i.origin <> 'pk' ORDER BY i.name, c.seqno"
    );
    let mut unique: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(database, &keys).await {
        unique
            .entry(text(&row, "key"))
            .or_default()
            .push(text(&row, "part"));
    }
    Table {
        name,
        columns,
        unique: unique.into_values().collect(),
    }
}

async fn schema() -> Vec<Table> {
    // Each connection to a database in memory has one of its own.
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1);
    let database = Database::connect(options).await.unwrap();
    Migrator::up(&database, None).await.unwrap();
    let mut tables = Vec::new();
    for row in rows(&database, TABLES).await {
        tables.push(table(&database, text(&row, "name")).await);
    }
    tables
}

fn diagram(tables: &[Table]) -> String {
    let mut diagram = "```mermaid\nerDiagram\n".to_owned();
    for table in tables {
        for column in &table.columns {
            let Some(parent) = &column.parent else {
                continue;
            };
            let one = if column.nullable { "|o" } else { "||" };
            let many = if table.is_unique(column) { "o|" } else { "o{" };
            let (child, name) = (&table.name, &column.name);
            writeln!(diagram, "  {parent} {one}--{many} {child} : {name}").unwrap();
        }
    }
    for table in tables {
        writeln!(diagram, "  {} {{", table.name).unwrap();
        for column in &table.columns {
            let keys = [
                (column.primary, "PK"),
                (column.parent.is_some(), "FK"),
                (!column.primary && table.is_unique(column), "UK"),
            ];
            let keys: Vec<&str> = keys.iter().filter(|key| key.0).map(|key| key.1).collect();
            let mut line = format!("    {} {}", column.of_type, column.name);
            if !keys.is_empty() {
                write!(line, " {}", keys.join(", ")).unwrap();
            }
            if column.nullable {
                line.push_str(" \"or null\"");
            }
            writeln!(diagram, "{line}").unwrap();
        }
        diagram.push_str("  }\n");
    }
    diagram + "```\n"
}

/// The doc comment of each entity, by its table.
fn comments() -> BTreeMap<String, String> {
    let model = Regex::new(
        "((?:/// .*\n)+)#\\[derive\\(.*\\)\\]\n#\\[sea_orm\\(table_name = \"(\\w+)\"\\)\\]",
    )
    .unwrap();
    let mut comments = BTreeMap::new();
    for file in fs::read_dir(root().join("entity/src")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        for model in model.captures_iter(&source) {
            let comment = model[1].replace("/// ", "").trim().replace('\n', " ");
            comments.insert(model[2].to_owned(), comment);
        }
    }
    comments
}

fn list(tables: &[Table]) -> String {
    let comments = comments();
    let mut list = "\n| table | a row is | unique together |\n|---|---|---|\n".to_owned();
    for table in tables {
        let comment = comments.get(&table.name);
        let comment = comment.unwrap_or_else(|| panic!("no entity of table {}", table.name));
        let keys = table.unique.iter().filter(|key| key.len() > 1);
        let keys: Vec<String> = keys.map(|key| format!("`{}`", key.join(", "))).collect();
        let keys = keys.join("<br>");
        writeln!(list, "| `{}` | {comment} | {keys} |", table.name).unwrap();
    }
    list
}

#[tokio::test]
async fn the_diagram_is_made_from_the_schema() {
    let tables = schema().await;
    assert!(tables.len() > 20);
    let page = format!("{HEAD}{}{}", diagram(&tables), list(&tables));
    assert_current(PAGE, &page);
}
