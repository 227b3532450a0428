//! Rows whose fields are resolved one after the other.
//!
//! async-graphql makes a task of each field of an object, in case it waits. Most fields of a row only copy a value, and
//! making their tasks took longer than reading a page of a list. So [`One`] and [`Items`] resolve one field after the
//! other, without tasks. Where a selected field waits ([`Row::WAITING`]), or the selection has a directive or uses a name
//! twice, they leave it to async-graphql. Extensions of the schema do not see these fields; there are none. What is
//! resolved here is charged to the response ([`super::size`]), and ends where that gets too long.

use std::borrow::Cow;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::{resolve_container, resolve_list};
use async_graphql::{ContextSelectionSet, ObjectType, OutputType, Positioned, ServerResult, Value};

use super::size::charge;

/// An object that is a row of the database.
pub(crate) trait Row: ObjectType {
    /// Fields that ask the database. They are resolved concurrently, so that their reads share a statement.
    const WAITING: &'static [&'static str] = &[];
}

impl<T: Row> Row for &T {
    const WAITING: &'static [&'static str] = T::WAITING;
}

/// One row.
pub(crate) struct One<T>(pub(crate) T);

/// A list of rows.
pub(crate) struct Items<'a, T>(pub(crate) Vec<&'a T>);

impl<T: Row> OutputType for One<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let value = match fields_at_hand::<T>(ctx) {
            Some(fields) => resolve_in_turn(ctx, &fields, &self.0).await,
            None => resolve_container(ctx, &self.0).await?,
        };
        charge(ctx, &value)?;
        Ok(value)
    }
}

impl<T: Row> OutputType for Items<'_, T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let Some(fields) = fields_at_hand::<T>(ctx) else {
            let items = self.0.iter().copied();
            let list = resolve_list(ctx, field, items, Some(self.0.len())).await?;
            charge(ctx, &list)?;
            return Ok(list);
        };
        let items = self.0.iter().enumerate().map(|(index, item)| {
            let (ctx, fields) = (ctx.with_index(index), &fields);
            async move {
                let value = resolve_in_turn(&ctx, fields, *item).await;
                charge(&ctx, &value).map(|()| value)
            }
        });
        // Concurrently, so that rows that wait after all share a statement.
        let items = futures::future::try_join_all(items).await?;
        Ok(Value::List(items))
    }
}

type Fields<'a> = Vec<&'a Positioned<Field>>;

/// Returns the selected fields, if they can be resolved one after the other.
fn fields_at_hand<'a, T: Row>(ctx: &ContextSelectionSet<'a>) -> Option<Fields<'a>> {
    let mut fields = Fields::new();
    collect::<T>(ctx, &ctx.item.node, &mut fields).then_some(fields)
}

/// Collects fields, also from fragments. Returns false for a directive, a name that is used twice, or a field that waits.
fn collect<'a, T: Row>(
    ctx: &ContextSelectionSet<'a>,
    set: &'a SelectionSet,
    fields: &mut Fields<'a>,
) -> bool {
    set.items.iter().all(|selection| {
        let (condition, set) = match &selection.node {
            Selection::Field(field) => {
                let name = &field.node.response_key().node;
                let usual = field.node.directives.is_empty()
                    && !T::WAITING.contains(&field.node.name.node.as_str())
                    && fields
                        .iter()
                        .all(|known| known.node.response_key().node != *name);
                fields.push(field);
                return usual;
            }
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                (condition, &fragment.node.selection_set.node)
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let Some(fragment) = ctx.query_env.fragments.get(name) else {
                    return false;
                };
                let condition = Some(&fragment.node.type_condition);
                (condition, &fragment.node.selection_set.node)
            }
        };
        // async-graphql resolves a fragment on an interface, because it knows which types implement it.
        condition.is_none_or(|condition| T::type_name() == condition.node.on.node.as_str())
            && collect::<T>(ctx, set, fields)
    })
}

async fn resolve_in_turn<T: Row>(
    ctx: &ContextSelectionSet<'_>,
    fields: &Fields<'_>,
    row: &T,
) -> Value {
    let mut object = IndexMap::with_capacity(fields.len());
    for field in fields {
        let name = field.node.response_key().node.clone();
        if field.node.name.node == "__typename" {
            object.insert(name, Value::String(T::type_name().into_owned()));
            continue;
        }
        let ctx = ctx.with_field(field);
        match row.resolve_field(&ctx).await {
            Ok(value) => {
                object.insert(name, value.unwrap_or_default());
            }
            Err(error) => ctx.add_error(error),
        }
    }
    // Like async-graphql, for an object all of whose fields failed.
    if object.is_empty() {
        Value::Null
    } else {
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Error, Object, Result, Schema};
    use serde_json::json;

    use super::*;

    #[derive(Clone)]
    struct Toy(i32);

    impl Row for Toy {
        const WAITING: &'static [&'static str] = &["slow"];
    }

    #[Object]
    impl Toy {
        async fn number(&self) -> i32 {
            self.0
        }

        async fn nothing(&self) -> Option<i32> {
            None
        }

        async fn slow(&self) -> i32 {
            tokio::task::yield_now().await;
            -self.0
        }

        async fn odd(&self) -> Result<Option<i32>> {
            odd(self.0)
        }

        async fn next(&self, by: Option<i32>) -> One<Leaf> {
            One(Leaf(self.0 + by.unwrap_or(1)))
        }
    }

    struct Leaf(i32);

    impl Row for Leaf {}

    #[Object]
    impl Leaf {
        async fn number(&self) -> i32 {
            self.0
        }

        async fn odd(&self) -> Result<Option<i32>> {
            odd(self.0)
        }
    }

    fn odd(number: i32) -> Result<Option<i32>> {
        if number % 2 == 0 {
            return Err(Error::new("even"));
        }
        Ok(Some(number))
    }

    /// One list twice: as it is resolved here, and as async-graphql resolves it.
    struct Query(Vec<Toy>);

    #[Object]
    impl Query {
        async fn here(&self) -> Items<'_, Toy> {
            Items(self.0.iter().collect())
        }

        async fn there(&self) -> &[Toy] {
            &self.0
        }
    }

    #[tokio::test]
    async fn rows_are_what_async_graphql_makes_of_them() {
        let rows = (1..=3).map(Toy).collect();
        let schema = Schema::build(Query(rows), EmptyMutation, EmptySubscription).finish();
        for selection in [
            "number",
            "a: number b: number nothing",
            "__typename number",
            "number next(by: 10) { a: number __typename }",
            "slow number",
            "number @skip(if: true) nothing @include(if: true)",
            "number odd",
            "odd",
            "number next { odd }",
            "... { number } ... on Toy { nothing }",
            "...F number",
            "next { a: number } next { b: number }",
        ] {
            let ask = async |list: &str| {
                let fragment = "fragment F on Toy { nothing next { number } }";
                let fragment = if selection.contains("...F") {
                    fragment
                } else {
                    ""
                };
                let query = format!("{{ rows: {list} {{ {selection} }} }} {fragment}");
                let response = serde_json::to_value(schema.execute(query).await).unwrap();
                let mut errors: Vec<String> = response["errors"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|error| json!([error["message"], error["path"]]).to_string())
                    .collect();
                errors.sort();
                (response["data"].clone(), errors)
            };
            let here = ask("here").await;
            assert_eq!(here, ask("there").await, "{selection}");
            assert!(here.0["rows"].is_array(), "{selection}: {here:?}");
        }
    }

    #[tokio::test]
    async fn fields_come_in_the_order_in_which_they_are_asked_for() {
        let schema = Schema::build(Query(vec![Toy(7)]), EmptyMutation, EmptySubscription).finish();
        let query = "{ here { next { number } nothing __typename number } }";
        let response = serde_json::to_string(&schema.execute(query).await).unwrap();
        let expected = r#"{"data":{"here":[{"next":{"number":8},"nothing":null,"__typename":"Toy","number":7}]}}"#;
        assert_eq!(response, expected);
    }
}
