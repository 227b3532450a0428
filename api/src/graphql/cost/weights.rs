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
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// The type of its value, or of each in its list.
    pub(crate) target: String,
    pub(crate) times: Times,
    /// Cost of the field alone.
    pub(crate) own: u64,
}

/// The weights of a type's fields, by name.
pub(crate) type Fields = HashMap<String, Weight>;

/// The weights of every field.
#[derive(Debug)]
pub(crate) struct Weights(HashMap<String, Fields>);

impl Weights {
    /// Reads the weights from an SDL whose root types have their usual names.
    pub(crate) fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema's own SDL is GraphQL");
        let mut composite: HashMap<String, Vec<FieldDefinition>> = HashMap::new();
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
            composite.insert(definition.node.name.node.to_string(), fields);
        }
        let types = composite.iter().map(|(name, fields)| {
            let of_connection = name.ends_with("Connection");
            let fields = fields.iter().map(|field| {
                let has_fields = composite.contains_key(base(&field.ty.node).0);
                let weight = weigh(field, has_fields, of_connection);
                (field.name.node.to_string(), weight)
            });
            (name.clone(), fields.collect())
        });
        Self(types.collect())
    }

    /// Returns the fields of the type of this name; `None` for one that has none.
    pub(crate) fn type_named(&self, name: &str) -> Option<&Fields> {
        self.0.get(name)
    }

    /// Returns the type that an operation's selections are on.
    pub(crate) fn root(&self, operation: OperationType) -> Option<&Fields> {
        self.type_named(match operation {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        })
    }
}

fn weigh(field: &FieldDefinition, has_fields: bool, of_connection: bool) -> Weight {
    let (target, is_list) = base(&field.ty.node);
    let mut arguments = field.arguments.iter();
    let times = match (has_fields, is_list) {
        (true, false) if target.ends_with("Connection") => Times::Page,
        (false, _) | (true, false) => Times::Once,
        (true, true) if of_connection => Times::EachItem,
        (true, true) if arguments.any(|argument| argument.node.name.node == "ids") => Times::Ids,
        (true, true) => Times::List,
    };
    let counts = of_connection && field.name.node == "totalCount";
    let own = if times == Times::Page || counts {
        STATEMENT
    } else if !has_fields && is_list {
        TEXTS
    } else {
        1
    };
    Weight {
        target: target.to_owned(),
        times,
        own,
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
            let weight = &weights.type_named(of).unwrap()[field];
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
        assert!(!weights.type_named("Query").unwrap().contains_key("nothing"));
    }
}
