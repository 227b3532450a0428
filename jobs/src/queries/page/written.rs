//! Pages whose statement is written as text.

use sea_orm::{DbBackend, Value};

use super::{Key, PageError, PageRequest, Position};
use crate::infra::db::sql::Sql;

/// The order of a list whose statement is written as text. The column `id` breaks ties, in the same direction.
#[derive(Clone, Copy, Debug)]
pub(in crate::queries) struct Keys {
    pub(in crate::queries) column: &'static str,
    /// Columns before it in its index, which have one value in a page.
    pub(in crate::queries) within: &'static [&'static str],
    /// Whether it is text; else it is a whole number.
    pub(in crate::queries) text: bool,
    pub(in crate::queries) descending: bool,
}

impl PageRequest {
    /// Writes what [`Self::restrict`] does, for a list that is ordered by one column and, among equals, by the column `id`: the end of a
    /// `SELECT`, after at least one condition. An index with these two columns at its end gives the page, wherever it is
    /// in the list, without reading what is before it.
    pub(in crate::queries) fn write(&self, sql: &mut Sql, keys: &Keys) -> Result<(), PageError> {
        for (argument, cursor, down) in [
            ("after", &self.after, keys.descending),
            ("before", &self.before, !keys.descending),
        ] {
            let Some(Position(key, id)) = cursor else {
                continue;
            };
            let key: Value = match (key, keys.text) {
                (Key::Number(number), false) => (*number).into(),
                (Key::Text(text), true) => text.clone().into(),
                _ => return Err(PageError::Cursor(argument)),
            };
            let (column, past) = (keys.column, if down { " < " } else { " > " });
            if sql.backend() == DbBackend::MySql {
                // MySQL and MariaDB make ranges of an index of this, and none of a comparison of pairs.
                sql.push(" AND (").push(column).push(past).bind(key.clone());
                sql.push(" OR (").push(column).push(" = ").bind(key);
                sql.push(" AND id").push(past).bind(*id).push("))");
            } else {
                sql.push(" AND (").push(column).push(", id)").push(past);
                sql.push("(").bind(key).push(", ").bind(*id).push(")");
            }
        }
        if sql.leads_order() {
            self.write_order_by(sql, &[keys.within, &[keys.column, "id"]].concat(), keys, "");
        } else {
            self.write_order(sql, keys, "");
        }
        // The number and not a value: a plan for any number at all would be one for many.
        sql.push(" LIMIT ").number(self.size + 1);
        Ok(())
    }

    /// Writes the order alone, of columns with this prefix.
    pub(in crate::queries) fn write_order(&self, sql: &mut Sql, keys: &Keys, prefix: &str) {
        self.write_order_by(sql, &[keys.column, "id"], keys, prefix);
    }

    fn write_order_by(&self, sql: &mut Sql, columns: &[&str], keys: &Keys, prefix: &str) {
        let way = if keys.descending == self.backward {
            " ASC"
        } else {
            " DESC"
        };
        let mut before = " ORDER BY ";
        for column in columns {
            sql.push(before).push(prefix).push(column).push(way);
            before = ", ";
        }
    }

    /// Rows that are read: one more than the page has, to know whether there is another page.
    pub(in crate::queries) fn rows(&self) -> u64 {
        self.size + 1
    }
}
