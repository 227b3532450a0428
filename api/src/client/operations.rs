//! The GraphQL operations of the client: each is a file in `documents/`, with the types of its variables and data.

use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{
    BackwardPage, Balance, Host, Image, Job, JobPayload, LedgerEntryKind, NamedUser, Page,
    PullProgress, SignInPayload, SignOutPayload, StatementEntry, User,
};
use super::text::Text;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One GraphQL operation.
pub(crate) trait Operation {
    /// The operation's name in the document.
    const NAME: &'static str;
    /// The document.
    const DOCUMENT: &'static str;
    /// Whether sending it twice has the same effect as once: a query, or a mutation with an idempotency key.
    const REPEATABLE: bool;
    type Variables: Serialize;
    type Data: DeserializeOwned;
}

/// Declares operations, and the list of them that a test checks against the contract.
macro_rules! operations {
    ($($name:ident($file:literal, $repeatable:literal, $variables:ty) -> $data:ty;)+) => {
        $(
            pub(crate) struct $name;
            impl Operation for $name {
                const NAME: &'static str = stringify!($name);
                const DOCUMENT: &'static str = include_str!(concat!("documents/", $file, ".graphql"));
                const REPEATABLE: bool = $repeatable;
                type Variables = $variables;
                type Data = $data;
            }
        )+

        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$(($name::NAME, $name::DOCUMENT)),+];
    };
}

operations! {
    ViewerQuery("viewer", true, NoVariables) -> ViewerData;
    BalanceQuery("balance", true, NoVariables) -> BalanceData;
    HostsQuery("hosts", true, PageVariables) -> HostsData;
    ImageQuery("image", true, IdVariables) -> ImageData;
    ImagesQuery("images", true, ImagesVariables) -> ImagesData;
    JobQuery("job", true, IdVariables) -> JobData;
    JobsQuery("jobs", true, JobsVariables) -> JobsData;
    RefundQuery("refund", true, NoVariables) -> RefundData;
    StatementQuery("statement", true, StatementVariables) -> StatementData;
    UserStatementQuery("user_statement", true, UserStatementVariables) -> UserStatementData;
    UsersQuery("users", true, UsersVariables) -> UsersData;
    SignOut("sign_out", true, NoVariables) -> SignOutData;
    SignIn("sign_in", false, Input<SignInInput>) -> SignInData;
    PullImage("pull_image", true, Input<PullImageInput>) -> PullImageData;
    RemoveImage("remove_image", true, Input<RemoveImageInput>) -> RemoveImageData;
    CancelJob("cancel_job", false, Input<CancelJobInput>) -> CancelJobData;
    RetryJob("retry_job", true, Input<RetryJobInput>) -> RetryJobData;
    PullProgressSubscription("pull_progress", true, JobIdVariables) -> PullProgressData;
    JobUpdatedSubscription("job_updated", true, NoVariables) -> JobUpdatedData;
}

/// Declares structs in the contract's camelCase.
macro_rules! wire {
    ($derive:ident: $($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive($derive)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                $($(#[$attribute])* pub(crate) $field: $type,)*
            }
        )+
    };
}

/// The only variable of a mutation.
#[derive(Serialize)]
pub(crate) struct Input<T> {
    pub(crate) input: T,
}

wire! { Serialize:
    NoVariables {}
    PageVariables { after: Option<String> }
    IdVariables { id: String }
    JobIdVariables { job_id: String }
    ImagesVariables { after: Option<String>, filter: ImageFilter }
    JobsVariables { first: u32, after: Option<String>, filter: JobFilter }
    ImageFilter {
        #[serde(skip_serializing_if = "Option::is_none")] states: Option<Vec<&'static str>>,
        #[serde(skip_serializing_if = "Option::is_none")] search: Option<String>,
    }
    JobFilter {
        #[serde(skip_serializing_if = "Option::is_none")] states: Option<Vec<&'static str>>,
    }
    StatementVariables { before: Option<String> }
    UserStatementVariables { id: String, before: Option<String> }
    UsersVariables { search: String, after: Option<String> }
    SignInInput { name: String, password: String }
    PullImageInput { reference: String, host_id: Option<String>, idempotency_key: String }
    RemoveImageInput { image_id: String, idempotency_key: String }
    CancelJobInput { job_id: String }
    RetryJobInput { job_id: String, idempotency_key: String }
}

wire! { Deserialize:
    ViewerData { viewer: User }
    BalanceData { balance: Balance }
    HostsData { hosts: Page<Host> }
    ImageData { image: Option<Image> }
    ImagesData { images: Page<Image> }
    JobData { job: Option<Job> }
    JobsData { jobs: Page<Job> }
    StatementData { viewer: Account }
    UserStatementData { node: Option<Account> }
    Account { ledger: BackwardPage<StatementEntry> }
    UsersData { users: Page<NamedUser> }
    SignOutData { sign_out: SignOutPayload }
    SignInData { sign_in: SignInPayload }
    PullImageData { pull_image: JobPayload }
    RemoveImageData { remove_image: JobPayload }
    CancelJobData { cancel_job: JobPayload }
    RetryJobData { retry_job: JobPayload }
    PullProgressData { pull_progress: PullProgress }
    JobUpdatedData { job_updated: Job }
    RefundData { viewer: Wallet }
    Wallet { balance: Balance, ledger: Ledger }
    Ledger { nodes: Vec<LedgerEntry> }
    LedgerEntry { kind: LedgerEntryKind, amount: Text, job: Option<JobRef> }
    JobRef { id: Text }
}

/// Returns the job with its progress and image.
pub(crate) async fn job(gateway: &Gateway, id: &str) -> Result<Job, ClientError> {
    let data = gateway
        .execute::<JobQuery>(&IdVariables { id: id.to_owned() })
        .await?;
    data.job.ok_or_else(|| {
        ClientError::NotFound(format!(
            "there is no job {id} that you may see: `wharfinger jobs` lists yours"
        ))
    })
}

/// Returns every image that matches `filter`, page after page.
pub(crate) async fn images(
    gateway: &Gateway,
    states: Vec<&'static str>,
    search: Option<&str>,
) -> Result<Vec<Image>, ClientError> {
    let mut variables = ImagesVariables {
        after: None,
        filter: ImageFilter {
            states: Some(states),
            search: search.map(str::to_owned),
        },
    };
    let mut images = Vec::new();
    loop {
        let page = gateway.execute::<ImagesQuery>(&variables).await?.images;
        images.extend(page.nodes);
        match next_page(
            variables.after.as_ref(),
            page.page_info.has_next_page,
            page.page_info.end_cursor,
        ) {
            Some(cursor) => variables.after = Some(cursor),
            None => return Ok(images),
        }
    }
}

/// Returns every host, page after page.
pub(crate) async fn hosts(gateway: &Gateway) -> Result<Vec<Host>, ClientError> {
    let mut variables = PageVariables { after: None };
    let mut hosts = Vec::new();
    loop {
        let page = gateway.execute::<HostsQuery>(&variables).await?.hosts;
        hosts.extend(page.nodes);
        match next_page(
            variables.after.as_ref(),
            page.page_info.has_next_page,
            page.page_info.end_cursor,
        ) {
            Some(cursor) => variables.after = Some(cursor),
            None => return Ok(hosts),
        }
    }
}

/// Returns the newest jobs, at most `limit`.
pub(crate) async fn jobs(
    gateway: &Gateway,
    states: &[&'static str],
    limit: usize,
) -> Result<Vec<Job>, ClientError> {
    let mut after = None;
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let first = u32::try_from((limit - jobs.len()).min(100)).unwrap_or(100);
        let states = (!states.is_empty()).then(|| states.to_vec());
        let variables = JobsVariables {
            first,
            after,
            filter: JobFilter { states },
        };
        let page = gateway.execute::<JobsQuery>(&variables).await?.jobs;
        jobs.extend(page.nodes);
        jobs.truncate(limit);
        after = next_page(
            variables.after.as_ref(),
            page.page_info.has_next_page,
            page.page_info.end_cursor,
        );
        if after.is_none() || jobs.len() == limit {
            return Ok(jobs);
        }
    }
}

/// Returns the user of this name, regardless of case. Administrators only.
pub(crate) async fn user(gateway: &Gateway, name: &str) -> Result<NamedUser, ClientError> {
    let mut variables = UsersVariables {
        search: name.to_owned(),
        after: None,
    };
    loop {
        let page = gateway.execute::<UsersQuery>(&variables).await?.users;
        let named = |user: &NamedUser| user.name.raw().eq_ignore_ascii_case(name);
        if let Some(user) = page.nodes.into_iter().find(named) {
            return Ok(user);
        }
        match next_page(
            variables.after.as_ref(),
            page.page_info.has_next_page,
            page.page_info.end_cursor,
        ) {
            Some(cursor) => variables.after = Some(cursor),
            None => return Err(ClientError::NotFound(format!("there is no user {name}"))),
        }
    }
}

/// Returns the cursor of the next page. A server that repeats its cursor would never end, so that counts as the last page.
fn next_page(current: Option<&String>, has_next: bool, end: Option<String>) -> Option<String> {
    end.filter(|cursor| has_next && Some(cursor) != current)
}
