//! The GraphQL schema: the contract of `schema.graphql`, resolved by the jobs crate.
//!
//! A resolver authorises, parses ids, calls one function of a service and maps what comes back. Who is calling and what
//! they may see is in the request's data ([`context`]); rows that other rows refer to come through [`loaders`], which
//! answer only what the caller may see.

#![expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "doc comments here are descriptions of the schema, which are plain text"
)]
#![expect(
    clippy::unused_async,
    reason = "async-graphql's resolvers are async, whether they wait for anything or not"
)]

mod audience;
mod context;
mod cost;
mod enums;
pub(crate) mod ids;
mod loaders;
mod mutation;
mod query;
mod scalars;
mod subscription;
mod types;

use async_graphql::{Schema as GraphQlSchema, ValidationMode};
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::services::Services;

use crate::http::ValidateOnce;
pub(crate) use audience::audience;
use context::Gateway;
pub(crate) use context::{Browser, Caller, Loaders};
pub(crate) use cost::Rules;
use cost::{Limited, Suggesting};
pub(crate) use ids::Kind;
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

/// The schema with its resolvers.
pub type Schema = GraphQlSchema<Query, Mutation, Subscription>;

/// The schema over these services, within their limits.
pub(crate) fn schema(services: Services) -> Limited<Suggesting<ValidateOnce<Schema>>> {
    let limits = services.settings.limits.clone();
    let gateway = Gateway {
        services,
        watches: Watches::default(),
    };
    // Whether a name is suggested is decided for a whole schema.
    let executor = |open: bool| {
        let schema = |mode| {
            let builder = builder().validation_mode(mode).data(gateway.clone());
            if open {
                builder.finish()
            } else {
                let closed = builder.disable_introspection().disable_suggestions();
                closed.finish()
            }
        };
        let (strict, fast) = (ValidationMode::Strict, ValidationMode::Fast);
        Suggesting {
            executor: ValidateOnce::new(schema(strict), schema(fast)),
            open,
        }
    };
    Limited::new(executor(true), executor(false), &sdl(), limits)
}

/// The schema in GraphQL's own language.
pub fn sdl() -> String {
    builder().finish().sdl_with_options(
        async_graphql::SDLExportOptions::new()
            .sorted_fields()
            .sorted_arguments()
            .sorted_enum_items()
            .include_specified_by(),
    )
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    GraphQlSchema::build(Query::default(), Mutation::default(), Subscription)
        .register_output_type::<types::Node>()
}
