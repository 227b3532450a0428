//! The GraphQL operations of the client: each is a file in `documents/`, with the type of its data.

use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{
    Account, Balance, Host, Image, Job, JobPayload, NamedUser, Page, PullProgress, SignInPayload,
    User, Wallet,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

/// One GraphQL operation.
pub(crate) trait Operation {
    /// The operation's name in the document.
    const NAME: &'static str;
    /// The document.
    const DOCUMENT: &'static str;
    /// Whether sending it twice has the same effect as once: a query, or a mutation with an idempotency key.
    const REPEATABLE: bool;
    /// The value of the document's only field.
    type Data: DeserializeOwned;

    /// Returns the body of a request, and the payload of a subscription.
    fn request(variables: &Value) -> Value {
        json!({ "operationName": Self::NAME, "query": Self::DOCUMENT, "variables": variables })
    }
}

/// Declares operations, and the list of them that a test checks against the contract.
macro_rules! operations {
    ($($name:ident($file:literal, $repeatable:literal) -> $data:ty;)+) => {
        $(
            pub(crate) struct $name;
            impl Operation for $name {
                const NAME: &'static str = stringify!($name);
                const DOCUMENT: &'static str = include_str!(concat!("documents/", $file, ".graphql"));
                const REPEATABLE: bool = $repeatable;
                type Data = $data;
            }
        )+

        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$(($name::NAME, $name::DOCUMENT)),+];
    };
}

operations! {
    ViewerQuery("viewer", true) -> User;
    BalanceQuery("balance", true) -> Balance;
    HostsQuery("hosts", true) -> Page<Host>;
    ImageQuery("image", true) -> Option<Image>;
    ImagesQuery("images", true) -> Page<Image>;
    JobQuery("job", true) -> Option<Job>;
    JobsQuery("jobs", true) -> Page<Job>;
    RefundQuery("refund", true) -> Wallet;
    StatementQuery("statement", true) -> Option<Account>;
    UserStatementQuery("user_statement", true) -> Option<Account>;
    UsersQuery("users", true) -> Page<NamedUser>;
    SignOut("sign_out", true) -> IgnoredAny;
    SignIn("sign_in", false) -> SignInPayload;
    PullImage("pull_image", true) -> JobPayload;
    RemoveImage("remove_image", true) -> JobPayload;
    CancelJob("cancel_job", false) -> JobPayload;
    RetryJob("retry_job", true) -> JobPayload;
    PullProgressSubscription("pull_progress", true) -> PullProgress;
    JobUpdatedSubscription("job_updated", true) -> Job;
}

/// Returns the job with its progress and image.
pub(crate) async fn job(gateway: &Gateway, id: &str) -> Result<Job, ClientError> {
    let job = gateway.execute::<JobQuery>(&json!({ "id": id })).await?;
    job.ok_or_else(|| {
        ClientError::Failed(format!(
            "there is no job {id} that you may see: `wharfinger jobs` lists yours"
        ))
    })
}

/// Returns every image in one of `states` whose reference contains `search`.
pub(crate) async fn images(
    gateway: &Gateway,
    states: &[&str],
    search: Option<&str>,
) -> Result<Vec<Image>, ClientError> {
    let variables = json!({ "filter": { "states": states, "search": search } });
    all::<ImagesQuery, _>(gateway, variables, usize::MAX).await
}

/// Returns every host.
pub(crate) async fn hosts(gateway: &Gateway) -> Result<Vec<Host>, ClientError> {
    all::<HostsQuery, _>(gateway, json!({}), usize::MAX).await
}

/// Returns the newest jobs, at most `limit`, in one of `states` or in any.
pub(crate) async fn jobs(
    gateway: &Gateway,
    states: &[String],
    limit: usize,
) -> Result<Vec<Job>, ClientError> {
    let states = (!states.is_empty()).then_some(states);
    let variables = json!({ "first": limit.min(100), "filter": { "states": states } });
    all::<JobsQuery, _>(gateway, variables, limit).await
}

/// Returns the user of this name, regardless of case. Administrators only.
pub(crate) async fn user(gateway: &Gateway, name: &str) -> Result<NamedUser, ClientError> {
    let users = all::<UsersQuery, _>(gateway, json!({ "search": name }), usize::MAX).await?;
    users
        .into_iter()
        .find(|user| user.name.raw().eq_ignore_ascii_case(name))
        .ok_or_else(|| ClientError::Failed(format!("there is no user {name}")))
}

/// Returns the nodes of a connection, page after page, at most `limit`.
async fn all<O: Operation<Data = Page<T>>, T>(
    gateway: &Gateway,
    mut variables: Value,
    limit: usize,
) -> Result<Vec<T>, ClientError> {
    let mut nodes = Vec::new();
    loop {
        let page = gateway.execute::<O>(&variables).await?;
        nodes.extend(page.nodes);
        if nodes.len() >= limit || !page.page_info.advance("after", &mut variables) {
            nodes.truncate(limit);
            return Ok(nodes);
        }
    }
}
