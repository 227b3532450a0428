//! Pages whose statement is written as text.

use sea_orm::DbBackend;
use sea_orm::sea_query::Order;

use super::{Ordering, PageError, PageRequest, Past};
use crate::infra::db::sql::Sql;

impl PageRequest {
    /// Writes what [`Self::read`] selects: the end of a `SELECT`, after at least one condition. `within` are the columns before
    /// the order's in its index, which have one value in a page. The index gives the page, wherever it is in the list, without
    /// reading what is before it.
    pub(in crate::queries) fn write(
        &self,
        sql: &mut Sql,
        ordering: Ordering,
        within: &[&str],
    ) -> Result<(), PageError> {
        for cursor in self.cursors(ordering) {
            let Past { key, id, down } = cursor?;
            let past = if down { " < " } else { " > " };
            match key {
                None => {
                    sql.push(" AND id").push(past).bind(id);
                }
                // MySQL and MariaDB make ranges of an index of this, and none of a comparison of pairs.
                Some((column, key)) if sql.backend() == DbBackend::MySql => {
                    sql.push(" AND (").push(column).push(past).bind(key.clone());
                    sql.push(" OR (").push(column).push(" = ").bind(key);
                    sql.push(" AND id").push(past).bind(id).push("))");
                }
                Some((column, key)) => {
                    sql.push(" AND (").push(column).push(", id)").push(past);
                    sql.push("(").bind(key).push(", ").bind(id).push(")");
                }
            }
        }
        let within = if sql.leads_order() { within } else { &[] };
        self.write_order(sql, ordering, within, "");
        // The number and not a value: a plan for any number at all would be one for many.
        sql.push(" LIMIT ").number(self.rows());
        Ok(())
    }

    /// Writes the order alone, of columns with this prefix.
    pub(in crate::queries) fn write_order(
        &self,
        sql: &mut Sql,
        ordering: Ordering,
        within: &[&str],
        prefix: &str,
    ) {
        let way = match self.order(ordering) {
            Order::Asc => " ASC",
            _ => " DESC",
        };
        let mut before = " ORDER BY ";
        let within = within.iter().copied();
        for column in within.chain(ordering.by.column()).chain(["id"]) {
            sql.push(before).push(prefix).push(column).push(way);
            before = ", ";
        }
    }
}
