//! The rules that every document is measured by, before it is validated and before its caller is known.

use std::any::TypeId;

use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Request, ServerError};
use wharfinger_jobs::settings::LimitSettings;

use super::sizes::Sizes;
use super::walk::{MOST_LEVELS, Unmeasurable, Walk};
use super::weights::Weights;
use crate::graphql::context::Caller;
use crate::http::{ErrorCode, Refusal, chosen, data_of};

/// Most levels of the schema's lists inside each other, as in graphql-js' `MaxIntrospectionDepthRule`. Each further level makes
/// the answer about a hundred times as long.
const MOST_SCHEMA_LISTS: u64 = 2;

/// Most `__schema` fields in one document: one returns the whole schema.
const MOST_SCHEMAS: u64 = 1;

/// Most `__type` fields in one document.
const MOST_TYPES: u64 = 5;

/// The costs of the schema's fields, and the limits.
pub(crate) struct Rules {
    weights: Weights,
    limits: LimitSettings,
}

/// The properties of a document that is within the limits.
#[derive(Clone)]
pub(super) struct Measured {
    pub(super) operation: Option<OperationType>,
    /// The response key of the first field; empty where no operation was chosen.
    pub(super) field: String,
    introspects: bool,
}

impl Rules {
    /// Rules for the schema of this SDL.
    pub(super) fn new(sdl: &str, limits: LimitSettings) -> Self {
        let weights = Weights::of(sdl);
        Self { weights, limits }
    }

    pub(super) fn limits(&self) -> &LimitSettings {
        &self.limits
    }

    /// Measures a request, and notes in its data that it is within the limits. Fails where it is not, and for introspection
    /// where that is turned off.
    pub(crate) fn note(&self, request: &mut Request) -> Result<(), ServerError> {
        let measured = self.measure(request)?;
        if measured.introspects && !self.limits.introspection {
            return Err(no_introspection(true).into_error());
        }
        request.data.insert(measured);
        Ok(())
    }

    /// Decides whether a request may be executed, and measures it unless [`Self::note`] did. Returns also whether its caller
    /// may introspect, and is suggested names.
    pub(super) fn admit(&self, request: &mut Request) -> Result<(Measured, bool), ServerError> {
        let signed_in = request.data.get(&TypeId::of::<Caller>()).is_some();
        let open = signed_in && self.limits.introspection;
        let measured = match data_of::<Measured>(&request.data) {
            Some(measured) => measured.clone(),
            None => self.measure(request)?,
        };
        if measured.introspects && !open {
            return Err(no_introspection(!self.limits.introspection).into_error());
        }
        Ok((measured, open))
    }

    fn measure(&self, request: &mut Request) -> Result<Measured, ServerError> {
        let name = request.operation_name.clone();
        let variables = std::mem::take(&mut request.variables);
        let document = request.parsed_query()?;
        let mut walk = Walk::new(document, &self.weights, &variables);
        let measured = walk
            .measure(name.as_deref())
            .map_err(|why| unmeasurable(&why))
            .and_then(|sizes| self.check(&sizes).map(|()| sizes))
            .map(|sizes| {
                let operation = chosen(document, name.as_deref());
                let field = operation
                    .and_then(|operation| first_field(document, &operation.selection_set.node));
                Measured {
                    operation: operation.map(|operation| operation.ty),
                    field: field.map(ToString::to_string).unwrap_or_default(),
                    introspects: sizes.introspects(),
                }
            });
        request.variables = variables;
        measured.map_err(Refusal::into_error)
    }

    pub(super) fn check(&self, sizes: &Sizes) -> Result<(), Refusal> {
        let limits = &self.limits;
        for (setting, found, most, less) in [
            (
                "fields",
                sizes.fields,
                limits.fields,
                "fields, counted wherever their fragments are spread",
            ),
            ("aliases", sizes.aliases, limits.aliases, "aliases"),
            (
                "directives",
                sizes.directives,
                limits.directives,
                "directives",
            ),
            (
                "depth",
                sizes.depth,
                limits.depth,
                "fields inside each other",
            ),
            (
                "complexity",
                sizes.complexity,
                limits.complexity,
                "points of complexity, where every item of a page counts",
            ),
        ] {
            if most > 0 && found > most {
                let message = format!(
                    "the document has {found} {less}, and at most {most} are allowed (limits.{setting}): {}",
                    advice(setting)
                );
                return Err(Refusal::new(ErrorCode::LimitExceeded, message));
            }
        }
        if sizes.introspects() && limits.depth > 0 && sizes.schema_lists > MOST_SCHEMA_LISTS {
            let message = format!(
                "introspection has {} lists of the schema inside each other, and at most {MOST_SCHEMA_LISTS} are allowed: ask for one type after the other",
                sizes.schema_lists
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        for (field, found, most) in [
            ("__schema", sizes.schemas, MOST_SCHEMAS),
            ("__type", sizes.types, MOST_TYPES),
        ] {
            if limits.complexity > 0 && found > most {
                let message = format!(
                    "the document has `{field}` {found} times, counted wherever its fragments are spread, and at most {most} are allowed: ask for less in one request"
                );
                return Err(Refusal::new(ErrorCode::LimitExceeded, message));
            }
        }
        // async-graphql executes all fields of a subscription, each as a stream, so that one operation of a connection would
        // be any number of streams (GraphQL specification, 5.2.3.1 "Single Root Field").
        if sizes.subscribes_to_several {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "a subscription has exactly one field at its root, and none of introspection: subscribe once for each",
            ));
        }
        Ok(())
    }
}

/// Refuses introspection: for all callers where it is `off`, else for anonymous ones.
pub(super) fn no_introspection(off: bool) -> Refusal {
    if off {
        Refusal::new(
            ErrorCode::Forbidden,
            "introspection is turned off here (limits.introspection)",
        )
    } else {
        Refusal::new(
            ErrorCode::Unauthenticated,
            "introspection is for signed-in callers: send a token as `Authorization: Bearer …`",
        )
    }
}

/// Returns what a client can do about a document that exceeds this limit.
fn advice(setting: &str) -> &'static str {
    match setting {
        "complexity" => "ask for smaller pages (`first`), or for less of each item",
        "aliases" => "use `nodes(ids:)`, or several requests",
        _ => "ask for less in one request",
    }
}

/// Returns the response key of the first field of a selection set, also where it is in a fragment. Only for documents that
/// were measured, whose fragments have no cycles.
fn first_field<'d>(
    document: &'d ExecutableDocument,
    selections: &'d SelectionSet,
) -> Option<&'d Name> {
    let inner = match &selections.items.first()?.node {
        Selection::Field(field) => return Some(&field.node.response_key().node),
        Selection::InlineFragment(fragment) => &fragment.node.selection_set,
        Selection::FragmentSpread(spread) => {
            let fragment = document.fragments.get(&spread.node.fragment_name.node)?;
            &fragment.node.selection_set
        }
    };
    first_field(document, &inner.node)
}

fn unmeasurable(why: &Unmeasurable) -> Refusal {
    match why {
        Unmeasurable::Cycle(fragment) => Refusal::new(
            ErrorCode::BadRequest,
            format!("the fragment `{fragment}` spreads itself"),
        ),
        Unmeasurable::TooManyLevels => Refusal::new(
            ErrorCode::LimitExceeded,
            format!(
                "the document has fields and fragments more than {MOST_LEVELS} levels inside each other: ask for less depth"
            ),
        ),
    }
}
