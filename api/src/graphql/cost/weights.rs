//! The cost of each field of the schema, read from its SDL.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, OperationType, Type, TypeKind, TypeSystemDefinition,
};

/// Cost of a page, or of a count of a whole list, besides its items: a statement.
const STATEMENT: u64 = 10;

/// Cost of a list of texts. Its items are counted like those of any list without pages.
const TEXTS: u64 = 10;

/// How many times the selections of a field count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Once.
    Once,
    /// A connection: its items are counted by its page size.
    Page,
    /// `nodes` and `edges` of a connection: once for each item of the page.
    EachItem,
    /// A list without pages.
    List,
    /// A list of introspection.
    SchemaList,
    /// As many times as the argument `ids` has items.
    Ids,
}

/// The part of a field in the complexity of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// The type that its selections are on; `None` for a leaf.
    pub(crate) target: Option<usize>,
    pub(crate) times: Times,
    /// Cost of the field alone.
    pub(crate) own: u64,
}

/// The weights of every field.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    names: HashMap<String, usize>,
    types: Vec<HashMap<String, Weight>>,
}

impl Weights {
    /// Reads the weights from an SDL whose root types have their usual names.
    pub(crate) fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema's own SDL is GraphQL");
        let mut composite: Vec<(String, Vec<FieldDefinition>)> = Vec::new();
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                TypeKind::Union(_) => Vec::new(),
                _ => continue,
            };
            let fields = fields.into_iter().map(|field| field.node).collect();
            composite.push((definition.node.name.node.to_string(), fields));
        }
        let mut weights = Self::default();
        for (name, _) in &composite {
            weights.names.insert(name.clone(), weights.names.len());
        }
        for (name, fields) in &composite {
            let of_connection = name.ends_with("Connection");
            let by_name = fields
                .iter()
                .map(|field| {
                    (
                        field.name.node.to_string(),
                        weights.weigh(field, of_connection),
                    )
                })
                .collect();
            weights.types.push(by_name);
        }
        weights
    }

    fn weigh(&self, field: &FieldDefinition, of_connection: bool) -> Weight {
        let (type_name, is_list) = base(&field.ty.node);
        let target = self.names.get(type_name).copied();
        let has = |name: &str| {
            field
                .arguments
                .iter()
                .any(|argument| argument.node.name.node == name)
        };
        let times = match (target, is_list) {
            (Some(_), false) if type_name.ends_with("Connection") => Times::Page,
            (None, _) | (Some(_), false) => Times::Once,
            (Some(_), true) if of_connection => Times::EachItem,
            (Some(_), true) if has("ids") => Times::Ids,
            (Some(_), true) => Times::List,
        };
        let counts = of_connection && field.name.node == "totalCount";
        let own = if times == Times::Page || counts {
            STATEMENT
        } else if target.is_none() && is_list {
            TEXTS
        } else {
            1
        };
        Weight { target, times, own }
    }

    /// Returns the type of this name.
    pub(crate) fn type_named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Returns the type that an operation's selections are on.
    pub(crate) fn root(&self, operation: OperationType) -> Option<usize> {
        self.type_named(match operation {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        })
    }

    /// Returns the weight of a field of a type; `None` for a field that the schema does not have, and for introspection.
    pub(crate) fn field(&self, of: Option<usize>, name: &str) -> Option<Weight> {
        self.types[of?].get(name).copied()
    }
}

/// Returns the name at the bottom of a type, and whether it is in a list.
fn base(ty: &Type) -> (&str, bool) {
    match &ty.base {
        BaseType::Named(name) => (name.as_str(), false),
        BaseType::List(of) => (base(of).0, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_list_is_known_for_what_it_is() {
        let weights = Weights::of(&crate::graphql::sdl());
        let times = |of: &str, field: &str| {
            let weight = weights.field(weights.type_named(of), field).unwrap();
            (weight.times, weight.own)
        };
        assert_eq!(times("Query", "images"), (Times::Page, STATEMENT));
        assert_eq!(times("User", "ledger"), (Times::Page, STATEMENT));
        assert_eq!(times("ImageConnection", "nodes"), (Times::EachItem, 1));
        assert_eq!(times("ImageConnection", "edges"), (Times::EachItem, 1));
        assert_eq!(times("ImageConnection", "pageInfo"), (Times::Once, 1));
        assert_eq!(
            times("ImageConnection", "totalCount"),
            (Times::Once, STATEMENT)
        );
        assert_eq!(times("Query", "nodes"), (Times::Ids, 1));
        assert_eq!(times("Query", "queues"), (Times::List, 1));
        assert_eq!(times("Job", "attempts"), (Times::List, 1));
        assert_eq!(times("Image", "exposedPorts"), (Times::Once, TEXTS));
        assert_eq!(times("PullProgress", "layers"), (Times::List, 1));
        assert_eq!(times("User", "apiTokens"), (Times::List, 1));
        assert_eq!(times("Node", "id"), (Times::Once, 1));
        assert!(weights.root(OperationType::Subscription).is_some());
        assert!(
            weights
                .field(weights.type_named("Query"), "nothing")
                .is_none()
        );
    }
}
