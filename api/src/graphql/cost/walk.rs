//! One walk over a document, which counts what is in it before it is validated.
//!
//! A fragment counts wherever it is spread, and is walked once: what it comes to is kept. So the walk takes as long as the
//! document is, and a document of forty lines that spread each other twice is found to have a billion fields in forty steps.

use std::collections::HashMap;

use async_graphql::parser::types::{
    ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Variables};
use async_graphql_value::{ConstValue, Value};
use wharfinger_jobs::queries::page::DEFAULT_SIZE;

use super::weights::{Times, Weights};

/// Selections inside selections, spreads of fragments included, at most. It protects the stack, and is no setting;
/// async-graphql's own bound is the same.
pub(crate) const MOST_LEVELS: u32 = 32;

/// Items that a list without pages is taken to have.
const LIST_ITEMS: u64 = 10;

/// Items that a list of the schema is taken to have. Types and fields have more, arguments and values fewer; with seven the
/// introspection that every tool sends would be over the default of `limits.complexity`.
const SCHEMA_ITEMS: u64 = 5;

/// What a document comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Selections: fields, and spreads of fragments.
    pub(crate) fields: u64,
    pub(crate) aliases: u64,
    pub(crate) directives: u64,
    /// Fields inside fields.
    pub(crate) depth: u64,
    pub(crate) complexity: u64,
    /// The part of the complexity that there is for each item of the connection around it.
    each_item: u64,
    /// Selections inside selections.
    levels: u32,
    /// Whether it asks for the schema.
    pub(crate) introspects: bool,
    /// Lists of the schema inside each other.
    pub(crate) schema_lists: u64,
    /// How often it asks for the whole schema (`__schema`).
    pub(crate) schemas: u64,
    /// How many types it asks for by name (`__type`).
    pub(crate) types: u64,
}

impl Sizes {
    /// Both, side by side.
    fn and(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            depth: self.depth.max(other.depth),
            complexity: self.complexity.saturating_add(other.complexity),
            each_item: self.each_item.saturating_add(other.each_item),
            levels: self.levels.max(other.levels),
            introspects: self.introspects || other.introspects,
            schema_lists: self.schema_lists.max(other.schema_lists),
            schemas: self.schemas.saturating_add(other.schemas),
            types: self.types.saturating_add(other.types),
        }
    }
}

/// Why a document cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unmeasurable {
    /// This fragment spreads itself.
    Cycle(Name),
    /// More than [`MOST_LEVELS`].
    TooManyLevels,
}

/// What is known of a fragment.
enum Known {
    /// It is being walked.
    Open,
    Walked(Sizes),
}

/// A walk over one document.
pub(crate) struct Walk<'a> {
    document: &'a ExecutableDocument,
    weights: &'a Weights,
    variables: &'a Variables,
    /// What variables are where they are not given, in any of the operations.
    defaults: HashMap<&'a str, &'a ConstValue>,
    known: HashMap<&'a str, Known>,
    /// Selections that were looked at: the length of the walk.
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
                // Where operations differ, the larger.
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
            known: HashMap::new(),
            visited: 0,
        }
    }

    /// What the document comes to: counts over all of its operations, because all are validated, and depth and complexity
    /// of the one that is asked for; of the worst where none is found.
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

    /// What the answer has first, by its name there. Only for a document that was measured: its fragments have an end.
    pub(crate) fn first_field(&self, selections: &'a SelectionSet) -> Option<&'a Name> {
        match &selections.items.first()?.node {
            Selection::Field(field) => Some(&field.node.response_key().node),
            Selection::InlineFragment(fragment) => {
                self.first_field(&fragment.node.selection_set.node)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = self
                    .document
                    .fragments
                    .get(&spread.node.fragment_name.node)?;
                self.first_field(&fragment.node.selection_set.node)
            }
        }
    }

    /// Whether every subscription has exactly one field at its root, and none of introspection (GraphQL specification,
    /// 5.2.3.1 "Single Root Field"). Only for a document that was measured: its fragments have an end.
    pub(crate) fn subscribes_to_one_each(&self) -> bool {
        let mut operations = self.document.operations.iter();
        operations.all(|(_, operation)| {
            let operation = &operation.node;
            operation.ty != OperationType::Subscription
                || self.only_field(&operation.selection_set.node)
        })
    }

    /// Whether there is one field, in however many fragments. Of two, each would be executed, alike or not. A selection
    /// of anything else than one item is refused at once, so that no fragment is looked into twice.
    fn only_field(&self, selections: &SelectionSet) -> bool {
        let [selection] = selections.items.as_slice() else {
            return false;
        };
        match &selection.node {
            Selection::Field(field) => !field.node.name.node.starts_with("__"),
            Selection::InlineFragment(fragment) => {
                self.only_field(&fragment.node.selection_set.node)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                // Validation says which fragment there is not.
                fragment.is_none_or(|fragment| self.only_field(&fragment.node.selection_set.node))
            }
        }
    }

    fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Sizes, Unmeasurable> {
        let root = self.weights.root(operation.ty);
        let mut sizes = self.selections(&operation.selection_set.node, root, 0)?;
        let of_variables = operation.variable_definitions.iter();
        let of_variables: usize = of_variables
            .map(|variable| variable.node.directives.len())
            .sum();
        sizes.directives += (operation.directives.len() + of_variables) as u64;
        Ok(sizes)
    }

    fn selections(
        &mut self,
        selections: &'a SelectionSet,
        on: Option<usize>,
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
                    inside(self.selections(inner, on, level + 1)?)
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
        let sizes = match self.known.get(name.as_str()) {
            Some(Known::Open) => return Err(Unmeasurable::Cycle(name.clone())),
            Some(Known::Walked(sizes)) => *sizes,
            None => match self.document.fragments.get(name) {
                // Validation says which fragment there is not.
                None => Sizes::default(),
                Some(fragment) => self.fragment(name, &fragment.node, level)?,
            },
        };
        if level + 1 + sizes.levels > MOST_LEVELS {
            return Err(Unmeasurable::TooManyLevels);
        }
        Ok(inside(sizes))
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        fragment: &'a FragmentDefinition,
        level: u32,
    ) -> Result<Sizes, Unmeasurable> {
        self.known.insert(name, Known::Open);
        let on = self
            .weights
            .type_named(&fragment.type_condition.node.on.node);
        let mut sizes = self.selections(&fragment.selection_set.node, on, level + 1)?;
        let directives = fragment.directives.len() as u64;
        sizes.directives = sizes.directives.saturating_add(directives);
        self.known.insert(name, Known::Walked(sizes));
        Ok(sizes)
    }

    fn field(
        &mut self,
        field: &'a Field,
        of: Option<usize>,
        level: u32,
    ) -> Result<Sizes, Unmeasurable> {
        let weight = self.weights.field(of, &field.name.node);
        let mut sizes = if field.selection_set.node.items.is_empty() {
            Sizes::default()
        } else {
            let on = weight.and_then(|weight| weight.target);
            inside(self.selections(&field.selection_set.node, on, level + 1)?)
        };
        sizes.depth += 1;
        sizes.aliases = sizes
            .aliases
            .saturating_add(u64::from(field.alias.is_some()));
        let name = field.name.node.as_str();
        sizes.introspects |= matches!(name, "__schema" | "__type");
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

    /// The size of the page that a connection is asked for.
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

    /// How many items an argument that is a list has.
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

/// Whether a field of introspection is a list.
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

/// The same one level further out.
fn inside(mut sizes: Sizes) -> Sizes {
    sizes.levels += 1;
    sizes
}

/// How many items a value stands for: those of a list, or a page of this size.
fn items(value: &ConstValue) -> u64 {
    match value {
        ConstValue::List(list) => list.len() as u64,
        ConstValue::Number(number) => number.as_u64().unwrap_or_default(),
        _ => 1,
    }
}
