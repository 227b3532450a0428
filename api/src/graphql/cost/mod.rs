//! How much one document may ask for.
//!
//! [`Rules`] measure a document ([`walk`], with the costs of [`weights`]) and refuse it before anything is validated or
//! read: the gate asks them before it looks up who is calling, so that not even that is read. [`Limited`] stands before the
//! schema, for every transport: it executes nothing that was not measured, knows who may ask for the schema, and gives up on
//! what takes too long ([`time`]). How many tokens a text may have is looked at before it is parsed (`http::tokens`), how
//! many requests may come by the gate.
//!
//! async-graphql has limits of its own. They are left alone: they count after most of validation, walk a fragment each
//! time that it is spread, and say neither the limit nor what was found.

mod suggestions;
mod time;
mod walk;
mod weights;

#[cfg(test)]
mod tests;

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Executor, Request, Response, ServerError};
use futures::stream::{self, BoxStream, StreamExt as _};
use wharfinger_jobs::settings::LimitSettings;

pub(crate) use self::suggestions::Suggesting;
use self::walk::{MOST_LEVELS, Sizes, Unmeasurable, Walk};
use self::weights::Weights;
use super::context::Caller;
use crate::http::{ErrorCode, Refusal, chosen, data_of};

/// Lists of the schema inside each other at most, as in graphql-js' `MaxIntrospectionDepthRule`: with each more, the
/// answer is some hundred times as long.
const MOST_SCHEMA_LISTS: u64 = 2;

/// Whole schemas (`__schema`) in one document at most: it has everything.
const MOST_SCHEMAS: u64 = 1;

/// Types by name (`__type`) in one document at most.
const MOST_TYPES: u64 = 5;

/// Executes what is within the limits.
#[derive(Clone)]
pub(crate) struct Limited<E> {
    /// For who may ask for the schema.
    open: E,
    /// For everybody else: it suggests no names either.
    closed: E,
    rules: Arc<Rules>,
}

/// What every document is measured by, whoever sends it.
pub(crate) struct Rules {
    weights: Weights,
    limits: LimitSettings,
}

/// What is known of a document that is within the limits.
#[derive(Clone)]
struct Measured {
    operation: Option<OperationType>,
    /// What the answer has first.
    field: String,
    introspects: bool,
}

/// What is known of a request that was let in.
struct Admitted {
    operation: Option<OperationType>,
    field: String,
    open: bool,
}

impl<E: Executor> Limited<E> {
    /// Limits over two executors of one schema, whose SDL is given: one that answers introspection and suggests names, and
    /// one that does neither.
    pub(crate) fn new(open: E, closed: E, sdl: &str, limits: LimitSettings) -> Self {
        let weights = Weights::of(sdl);
        Self {
            open,
            closed,
            rules: Arc::new(Rules { weights, limits }),
        }
    }

    /// The rules, for the gate.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    fn executor(&self, admitted: &Admitted) -> &E {
        if admitted.open {
            &self.open
        } else {
            &self.closed
        }
    }
}

impl<E: Executor> Executor for Limited<E> {
    async fn execute(&self, mut request: Request) -> Response {
        let admitted = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(response) => return *response,
        };
        let executor = self.executor(&admitted);
        let limit = self.rules.limits.request_time;
        match admitted.operation {
            Some(OperationType::Mutation) => {
                let executor = executor.clone();
                let mutation = async move { executor.execute(request).await };
                time::finish(limit, admitted.field, mutation).await
            }
            _ if limit == Duration::ZERO => executor.execute(request).await,
            _ => time::give_up(limit, executor.execute(request)).await,
        }
    }

    fn execute_stream(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let admitted = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(response) => return stream::once(std::future::ready(*response)).boxed(),
        };
        let responses = self.executor(&admitted).execute_stream(request, session);
        let limit = self.rules.limits.request_time;
        match admitted.operation {
            Some(OperationType::Mutation) => {
                stream::once(time::finish(limit, admitted.field, only(responses))).boxed()
            }
            _ if limit == Duration::ZERO => responses,
            Some(OperationType::Query) => {
                stream::once(time::give_up(limit, only(responses))).boxed()
            }
            _ => responses,
        }
    }
}

impl Rules {
    /// Measures a request and notes in its data that it is within the limits. An error is of one that is not, and of
    /// introspection where nobody may ask for the schema.
    pub(crate) fn note(&self, request: &mut Request) -> Result<(), ServerError> {
        let measured = self.measure(request)?;
        if measured.introspects && !self.limits.introspection {
            return Err(no_introspection(true).into_error());
        }
        request.data.insert(measured);
        Ok(())
    }

    /// What may be asked by whoever sends it; what may not is answered at once.
    fn admit(&self, request: &mut Request) -> Result<Admitted, Box<Response>> {
        let signed_in = request.data.get(&TypeId::of::<Caller>()).is_some();
        let open = signed_in && self.limits.introspection;
        let noted = data_of::<Measured>(&request.data).cloned();
        let measured = match noted {
            Some(measured) => measured,
            None => self
                .measure(request)
                .map_err(|error| Box::new(Response::from_errors(vec![error])))?,
        };
        if measured.introspects && !open {
            let off = !self.limits.introspection;
            return Err(Box::new(no_introspection(off).into_response()));
        }
        Ok(Admitted {
            operation: measured.operation,
            field: measured.field,
            open,
        })
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
            .and_then(|sizes| single_root_field(&walk).map(|()| sizes))
            .map(|sizes| {
                let operation = chosen(document, name.as_deref());
                let field =
                    operation.and_then(|operation| walk.first_field(&operation.selection_set.node));
                Measured {
                    operation: operation.map(|operation| operation.ty),
                    field: field.map(ToString::to_string).unwrap_or_default(),
                    introspects: sizes.introspects,
                }
            });
        request.variables = variables;
        measured.map_err(Refusal::into_error)
    }

    fn check(&self, sizes: &Sizes) -> Result<(), Refusal> {
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
        if !sizes.introspects {
            return Ok(());
        }
        if limits.depth > 0 && sizes.schema_lists > MOST_SCHEMA_LISTS {
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
        Ok(())
    }
}

/// Why the schema is not for this caller: it is `off`, for everybody, or they are nobody.
fn no_introspection(off: bool) -> Refusal {
    if off {
        Refusal::new(
            ErrorCode::Forbidden,
            "introspection is turned off here (limits.introspection)",
        )
    } else {
        Refusal::new(
            ErrorCode::Unauthenticated,
            "introspection is for who is signed in: send a token as `Authorization: Bearer …`",
        )
    }
}

/// The one response of what is no subscription.
async fn only(mut responses: BoxStream<'static, Response>) -> Response {
    responses.next().await.unwrap_or_default()
}

fn advice(setting: &str) -> &'static str {
    match setting {
        "complexity" => "ask for smaller pages (`first`), or for less of each item",
        "aliases" => "use `nodes(ids:)`, or several requests",
        _ => "ask for less in one request",
    }
}

/// Each field at the root of a subscription is a stream of its own: one operation of a connection would be any number.
/// async-graphql executes them all.
fn single_root_field(walk: &Walk<'_>) -> Result<(), Refusal> {
    if walk.subscribes_to_one_each() {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::BadRequest,
        "a subscription has exactly one field at its root, and none of introspection: subscribe once for each",
    ))
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
