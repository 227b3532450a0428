//! SQL as text with its values, for the statements that nearly every request needs: a builder of expressions would put
//! the same text together anew each time, and find each column of each row by its name.

use sea_orm::sea_query::{Alias, Expr, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic as _,
    Iterable as _, ModelTrait, QueryResult, Statement, TryGetable, TryIntoModel, Value,
};

/// Selects every column of an entity, named with a prefix, as the entity's `from_query_result` reads them.
pub(crate) fn select_all<E: EntityTrait>(select: &mut SelectStatement, prefix: &str) {
    for column in E::Column::iter() {
        let name = Alias::new(format!("{prefix}{}", column.as_str()));
        select.expr_as(Expr::col(column.as_column_ref()), name);
    }
}

/// Inserts a row whose columns are all set. Returns it without reading it.
pub(crate) async fn insert<A, M>(db: &impl ConnectionTrait, row: A) -> Result<M, DbErr>
where
    A: ActiveModelTrait + TryIntoModel<M>,
    M: ModelTrait<Entity = A::Entity>,
{
    let inserted = row.clone().try_into_model()?;
    A::Entity::insert(row).exec_without_returning(db).await?;
    Ok(inserted)
}

/// A statement that is being written.
pub(crate) struct Sql {
    backend: DbBackend,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Nothing yet.
    pub(crate) fn new(backend: DbBackend) -> Self {
        Self {
            backend,
            text: String::with_capacity(1024),
            values: Vec::new(),
        }
    }

    /// Which database it is for.
    pub(crate) fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Appends text. It is never made of what a user wrote: that is for [`Self::bind`].
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a whole number.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.text.push_str(&number.to_string());
        self
    }

    /// Appends the place of a value.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        if self.backend == DbBackend::Postgres {
            self.text.push('$');
            self.number(self.values.len() as u64)
        } else {
            self.push("?")
        }
    }

    /// Appends the places of a list in parentheses. An empty list holds nothing.
    pub(crate) fn bind_all<V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        let mut before = "(";
        for value in values {
            self.push(before).bind(value);
            before = ", ";
        }
        self.push(if before == "(" { "(NULL)" } else { ")" })
    }

    /// Appends that a column, the first one or the next one of an index, has a value: where a page is a range of that index.
    ///
    /// On MySQL and MariaDB as two bounds, and the column has to lead the order too ([`Self::leads_order`]). Given an equality,
    /// MariaDB 10.11 looks up where the columns before the cursor begin and leaves out one entry of the index after the other
    /// until it comes to the cursor; given bounds, it begins there.
    pub(crate) fn within(&mut self, column: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        if self.leads_order() {
            self.push(column).push(" >= ").bind(value.clone());
            self.push(" AND ").push(column).push(" <= ").bind(value)
        } else {
            self.push(column).push(" = ").bind(value)
        }
    }

    /// Whether columns of one value have to lead the order of a page.
    pub(crate) fn leads_order(&self) -> bool {
        self.backend == DbBackend::MySql
    }

    /// Appends the names of columns, with a prefix.
    pub(crate) fn list(&mut self, prefix: &str, columns: &[&str]) -> &mut Self {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                self.push(", ");
            }
            self.push(prefix).push(column);
        }
        self
    }

    /// The statement. Its text is the same for the same question, so that every connection prepares it once.
    pub(crate) fn statement(self) -> Statement {
        Statement::from_sql_and_values(self.backend, self.text, self.values)
    }
}

/// A row that is read from left to right.
pub(crate) struct Columns<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl<'r> Columns<'r> {
    /// From the first column on.
    pub(crate) fn of(row: &'r QueryResult) -> Self {
        Self { row, next: 0 }
    }

    /// Leaves a column out.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// The next column.
    pub(crate) fn take<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        let index = self.next;
        self.next += 1;
        self.row.try_get_by_index(index)
    }
}

/// The names of columns, and what reads them in that order into a row's type, of the same fields.
macro_rules! columns {
    ($names:ident, $read:ident -> $row:ty { $($column:ident),+ $(,)? }) => {
        const $names: &[&str] = &[$(stringify!($column)),+];

        fn $read(columns: &mut $crate::infra::db::sql::Columns<'_>) -> Result<$row, sea_orm::DbErr> {
            type Row = $row;
            Ok(Row { $($column: columns.take()?),+ })
        }
    };
}
pub(crate) use columns;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_database_expects_them() {
        let written = |backend| {
            let mut sql = Sql::new(backend);
            sql.push("a = ").bind(1i64).push(" AND b IN ");
            sql.bind_all(["x", "y"])
                .push(" AND c IN ")
                .bind_all::<String>([]);
            sql.push(" LIMIT ").number(3);
            let statement = sql.statement();
            assert_eq!(statement.values.map(|values| values.0.len()), Some(3));
            statement.sql
        };
        let places = "a = ? AND b IN (?, ?) AND c IN (NULL) LIMIT 3";
        assert_eq!(written(DbBackend::Sqlite), places);
        assert_eq!(written(DbBackend::MySql), places);
        assert_eq!(
            written(DbBackend::Postgres),
            "a = $1 AND b IN ($2, $3) AND c IN (NULL) LIMIT 3"
        );
    }
}
