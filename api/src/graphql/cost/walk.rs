//! Counts the parts of a document in one walk, before it is validated.
//!
//! A fragment counts wherever it is spread, but is walked once, and its counts are kept. So the walk is linear in the length
//! of the document: forty fragments that spread each other twice are found to have a billion fields in forty steps.

use std::collections::HashMap;

use async_graphql::parser::types::{
    ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Variables};
use async_graphql_value::{ConstValue, Value};
use wharfinger_jobs::queries::page::DEFAULT_SIZE;

use super::sizes::Sizes;
use super::weights::{Fields, Times, Weights};

/// Most levels of selections inside selections, fragments included. It protects the stack, and is no setting. async-graphql has
/// the same bound.
pub(crate) const MOST_LEVELS: u32 = 32;

/// Assumed items of a list without pages.
const LIST_ITEMS: u64 = 10;

/// Assumed items of a list of introspection. Types and fields have more, arguments and values fewer. With seven, the
/// introspection query that tools send would exceed the default of `limits.complexity`.
const SCHEMA_ITEMS: u64 = 5;

/// Why a document cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unmeasurable {
    /// This fragment spreads itself, directly or through others.
    Cycle(Name),
    /// It has more than [`MOST_LEVELS`].
    TooManyLevels,
}

/// A walk over one document.
pub(crate) struct Walk<'a> {
    document: &'a ExecutableDocument,
    weights: &'a Weights,
    variables: &'a Variables,
    /// Default values of variables, of all operations.
    defaults: HashMap<&'a str, &'a ConstValue>,
    /// The counts of each fragment; `None` while it is walked, when a spread of it is a cycle.
    fragments: HashMap<&'a str, Option<Sizes>>,
    /// Number of selections that were visited.
    pub(crate) visited: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        document: &'a ExecutableDocument,
        weights: &'a Weights,
        variables: &'a Variables,
    ) -> Self {
        let mut defaults: HashMap<&str, &ConstValue> = HashMap::new();
        for (_, operation) in document.operations.iter() {
            for variable in &operation.node.variable_definitions {
                let Some(value) = &variable.node.default_value else {
                    continue;
                };
                // Where operations differ, the larger one counts.
                let kept = defaults
                    .entry(&variable.node.name.node)
                    .or_insert(&value.node);
                if items(&value.node) > items(kept) {
                    *kept = &value.node;
                }
            }
        }
        Self {
            document,
            weights,
            variables,
            defaults,
            fragments: HashMap::new(),
            visited: 0,
        }
    }

    /// Returns the counts of the document. Depth and complexity are those of the named operation, or the greatest of all
    /// where there is none of this name. The rest is counted over all operations, because all of them are validated.
    pub(crate) fn measure(&mut self, operation_name: Option<&str>) -> Result<Sizes, Unmeasurable> {
        let mut all = Sizes::default();
        let mut chosen = None;
        let mut worst = (0, 0);
        for (name, operation) in self.document.operations.iter() {
            let sizes = self.operation(&operation.node)?;
            let own = (sizes.depth, sizes.complexity);
            worst = (worst.0.max(own.0), worst.1.max(own.1));
            if operation_name.is_some() && name.map(Name::as_str) == operation_name {
                chosen = Some(own);
            }
            all = all.and(sizes);
        }
        (all.depth, all.complexity) = chosen.unwrap_or(worst);
        Ok(all)
    }

    fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Sizes, Unmeasurable> {
        let root = self.weights.root(operation.ty);
        let mut sizes = self.selections(&operation.selection_set.node, root, 0)?;
        let of_variables = operation.variable_definitions.iter();
        let of_variables: usize = of_variables
            .map(|variable| variable.node.directives.len())
            .sum();
        sizes.directives += (operation.directives.len() + of_variables) as u64;
        sizes.subscribes_to_several =
            operation.ty == OperationType::Subscription && sizes.top_fields > 1;
        Ok(sizes)
    }

    fn selections(
        &mut self,
        selections: &'a SelectionSet,
        on: Option<&'a Fields>,
        level: u32,
    ) -> Result<Sizes, Unmeasurable> {
        if level > MOST_LEVELS {
            return Err(Unmeasurable::TooManyLevels);
        }
        let mut sizes = Sizes::default();
        for selection in &selections.items {
            self.visited += 1;
            let mut of_one = match &selection.node {
                Selection::Field(field) => self.field(&field.node, on, level)?,
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = match condition {
                        Some(condition) => self.weights.type_named(&condition.node.on.node),
                        None => on,
                    };
                    let inner = &fragment.node.selection_set.node;
                    self.selections(inner, on, level + 1)?.inside()
                }
                Selection::FragmentSpread(spread) => {
                    self.spread(&spread.node.fragment_name.node, level)?
                }
            };
            of_one.fields = of_one.fields.saturating_add(1);
            let directives = selection.node.directives().len() as u64;
            of_one.directives = of_one.directives.saturating_add(directives);
            sizes = sizes.and(of_one);
        }
        Ok(sizes)
    }

    fn spread(&mut self, name: &'a Name, level: u32) -> Result<Sizes, Unmeasurable> {
        let sizes = match self.fragments.get(name.as_str()) {
            Some(None) => return Err(Unmeasurable::Cycle(name.clone())),
            Some(Some(sizes)) => *sizes,
            None => match self.document.fragments.get(name) {
                // Validation reports the missing fragment.
                None => Sizes::default(),
                Some(fragment) => self.fragment(name, &fragment.node, level)?,
            },
        };
        if level + 1 + sizes.levels > MOST_LEVELS {
            return Err(Unmeasurable::TooManyLevels);
        }
        Ok(sizes.inside())
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        fragment: &'a FragmentDefinition,
        level: u32,
    ) -> Result<Sizes, Unmeasurable> {
        self.fragments.insert(name, None);
        let on = self
            .weights
            .type_named(&fragment.type_condition.node.on.node);
        let mut sizes = self.selections(&fragment.selection_set.node, on, level + 1)?;
        let directives = fragment.directives.len() as u64;
        sizes.directives = sizes.directives.saturating_add(directives);
        self.fragments.insert(name, Some(sizes));
        Ok(sizes)
    }

    fn field(
        &mut self,
        field: &'a Field,
        of: Option<&'a Fields>,
        level: u32,
    ) -> Result<Sizes, Unmeasurable> {
        let weight = of.and_then(|fields| fields.get(field.name.node.as_str()));
        let mut sizes = if field.selection_set.node.items.is_empty() {
            Sizes::default()
        } else {
            let on = weight.and_then(|weight| self.weights.type_named(&weight.target));
            self.selections(&field.selection_set.node, on, level + 1)?
                .inside()
        };
        sizes.depth += 1;
        sizes.aliases = sizes
            .aliases
            .saturating_add(u64::from(field.alias.is_some()));
        let name = field.name.node.as_str();
        sizes.top_fields = if name.starts_with("__") { 2 } else { 1 };
        sizes.schemas = sizes.schemas.saturating_add(u64::from(name == "__schema"));
        sizes.types = sizes.types.saturating_add(u64::from(name == "__type"));
        let is_schema_list = matches!(
            name,
            "fields" | "interfaces" | "possibleTypes" | "inputFields"
        );
        sizes.schema_lists += u64::from(is_schema_list && weight.is_none());

        let (times, own) = match weight {
            Some(weight) => (weight.times, weight.own),
            None if lists_schema(name) => (Times::SchemaList, 1),
            None => (Times::Once, 1),
        };
        let each = sizes.each_item;
        let inner = match times {
            Times::Once | Times::EachItem => sizes.complexity.saturating_add(each),
            Times::Page => {
                let of_items = each.saturating_mul(self.page(field));
                sizes.complexity.saturating_add(of_items)
            }
            Times::List => sizes.complexity.saturating_mul(LIST_ITEMS),
            Times::SchemaList => sizes.complexity.saturating_mul(SCHEMA_ITEMS),
            Times::Ids => {
                let ids = field
                    .get_argument("ids")
                    .map_or(1, |ids| self.items(&ids.node));
                sizes.complexity.saturating_mul(ids)
            }
        };
        let cost = own.saturating_add(inner);
        (sizes.complexity, sizes.each_item) = match times {
            Times::EachItem => (0, cost),
            _ => (cost, 0),
        };
        Ok(sizes)
    }

    /// Returns the size of the page that a connection is asked for.
    fn page(&self, field: &Field) -> u64 {
        let given = |name| {
            let value = &field.get_argument(name)?.node;
            match value {
                Value::Variable(name) => match self.variable(name)? {
                    ConstValue::Number(number) => number.as_u64(),
                    _ => None,
                },
                Value::Number(number) => number.as_u64(),
                _ => None,
            }
        };
        let given = given("first").max(given("last"));
        given.unwrap_or(DEFAULT_SIZE.unsigned_abs().into())
    }

    /// Returns the number of items of an argument that is a list.
    fn items(&self, value: &Value) -> u64 {
        match value {
            Value::List(list) => list.len() as u64,
            Value::Variable(name) => self.variable(name).map_or(1, items),
            _ => 1,
        }
    }

    fn variable(&self, name: &Name) -> Option<&ConstValue> {
        let given = self.variables.get(name);
        given.or_else(|| self.defaults.get(name.as_str()).copied())
    }
}

/// Returns whether a field of introspection is a list.
fn lists_schema(name: &str) -> bool {
    matches!(
        name,
        "types"
            | "directives"
            | "fields"
            | "args"
            | "enumValues"
            | "inputFields"
            | "interfaces"
            | "possibleTypes"
    )
}

/// Returns the number of items that a value stands for: those of a list, or of a page of this size.
fn items(value: &ConstValue) -> u64 {
    match value {
        ConstValue::List(list) => list.len() as u64,
        ConstValue::Number(number) => number.as_u64().unwrap_or_default(),
        _ => 1,
    }
}
