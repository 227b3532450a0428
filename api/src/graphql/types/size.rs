//! Charges for the parts of a response: about as many bytes as their JSON has.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value};

use crate::http::AnswerBudget;

/// Bytes of a number, a boolean or null.
const PLAIN: usize = 4;

/// Charges the response for an object or a list of objects. Objects inside of them are charged where they are resolved. Fails
/// where the response gets too long.
pub(super) fn charge(ctx: &ContextSelectionSet<'_>, value: &Value) -> ServerResult<()> {
    charge_bytes(ctx, bytes(value, false))
}

fn charge_bytes(ctx: &ContextSelectionSet<'_>, bytes: usize) -> ServerResult<()> {
    let Some(budget) = ctx.data_opt::<AnswerBudget>() else {
        return Ok(());
    };
    budget.charge(bytes).map_err(|refusal| {
        let error = refusal.into_error();
        ctx.set_error_path(error)
    })
}

/// Returns the bytes of a value: with everything inside of it if `deep`, else with objects and lists in its fields counted as
/// null, because their own resolvers charge them.
fn bytes(value: &Value, deep: bool) -> usize {
    let of_field = |value: &Value| match value {
        Value::List(_) | Value::Object(_) if !deep => PLAIN,
        value => bytes(value, deep),
    };
    match value {
        Value::List(items) => items.iter().map(|item| bytes(item, deep) + 1).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + 4 + of_field(value))
            .sum(),
        Value::String(text) => text.len() + 2,
        Value::Enum(name) => name.len() + 2,
        _ => PLAIN,
    }
}

/// A list without pages, of things whose fields need no statement. It is resolved and charged item by item, and ends where the
/// response gets too long.
#[derive(Clone, Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: OutputType> OutputType for List<T> {
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
        let mut values = Vec::with_capacity(self.0.len());
        for (index, item) in self.0.iter().enumerate() {
            let value = item.resolve(&ctx.with_index(index), field).await?;
            charge_bytes(ctx, bytes(&value, true) + 1)?;
            values.push(value);
        }
        Ok(Value::List(values))
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    #[test]
    fn the_charge_is_about_the_length_of_the_json() {
        let value = value!({
            "id": "image_01a20ab2ec8b759ca14648d72396e7e5",
            "ports": ["80/tcp", "443/tcp", "8080/udp"],
            "size": 1_234_567,
            "host": {"name": "one", "labels": [{"name": "disk", "value": "ssd"}]},
            "released": null,
        });
        let json = serde_json::to_string(&value).unwrap().len();
        let charged = bytes(&value, true);
        assert!(charged.abs_diff(json) < json / 10, "{charged} for {json}");
        let own = bytes(&value, false);
        assert!(own < charged - 60, "{own}: without the lists and the host");
    }
}
