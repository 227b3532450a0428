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

use async_graphql::Schema as GraphQlSchema;
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::services::Services;

pub(crate) use audience::audience;
use context::Gateway;
pub(crate) use context::{Browser, Caller, Loaders};
use cost::Limited;
pub(crate) use cost::Rules;
pub(crate) use ids::Kind;
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

/// The schema with its resolvers.
pub type Schema = GraphQlSchema<Query, Mutation, Subscription>;

/// Builds the schema over these services, with their limits in front of it.
///
/// There are two of it, because async-graphql decides for a whole schema whether it answers introspection and suggests
/// names: one for signed-in callers, and one that does neither.
pub(crate) fn schema(services: Services) -> Limited<Schema> {
    let limits = services.settings.limits.clone();
    let gateway = Gateway {
        services,
        watches: Watches::default(),
    };
    let open = builder().data(gateway.clone());
    let closed = builder().data(gateway);
    let closed = closed.disable_introspection().disable_suggestions();
    Limited::new(open.finish(), closed.finish(), &sdl(), limits)
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
