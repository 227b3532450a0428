//! Mutations of hosts: draining them, and letting new jobs onto them again.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;

use crate::graphql::context::{administrator, caller, mendable, services};
use crate::graphql::ids::Kind;
use crate::graphql::types::{Host, UserError};

/// Mutations of hosts.
#[derive(Default)]
pub(super) struct HostMutation;

/// Whether new jobs may be placed on a host.
#[derive(InputObject)]
pub(crate) struct SetHostSchedulableInput {
    /// The host.
    host_id: ID,
    /// False drains it, true lets new jobs onto it again.
    schedulable: bool,
}

/// The result of `setHostSchedulable`.
#[derive(SimpleObject)]
pub(crate) struct SetHostSchedulablePayload {
    /// The host as it is now; null if there is no such host.
    host: Option<Host>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

#[Object]
impl HostMutation {
    /// Administrators only: stop (or resume) placing new jobs on a host. On a host that takes no new jobs the running ones
    /// end, and so do removals, pulls whose user named the host, and pulls that its engine has begun; other waiting pulls
    /// move to another host, if one takes jobs.
    async fn set_host_schedulable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which host, and whether.")] input: SetHostSchedulableInput,
    ) -> Result<SetHostSchedulablePayload> {
        administrator(ctx)?;
        let actor = Actor::from(&caller(ctx)?.user);
        let host_id = Kind::Host.parse(&input.host_id);
        let host = set_host_schedulable(services(ctx), &actor, host_id, input.schedulable).await;
        Ok(match mendable(host)? {
            Ok(host) => SetHostSchedulablePayload {
                host: Some(host.into()),
                user_errors: Vec::new(),
            },
            Err(error) => SetHostSchedulablePayload {
                host: None,
                user_errors: vec![error.into()],
            },
        })
    }
}
