//! The contract's object types, over rows that the jobs crate reads. A field that needs another row asks a loader.

mod audit;
mod connection;
mod host;
mod image;
mod job;
mod ledger;
mod progress;
mod queue;
mod registry_credential;
mod rows;
mod size;
mod token;
mod user;

pub(crate) use audit::{AuditEntry, AuditFilter};
pub(crate) use connection::{
    AuditEntryConnection, HostConnection, ImageConnection, JobConnection, LedgerEntryConnection,
    UserConnection, page,
};
pub(crate) use host::Host;
pub(crate) use image::{Image, ImageFilter};
pub(crate) use job::{Job, JobAttempt, JobFilter};
pub(crate) use ledger::{Balance, LedgerEntry};
pub(crate) use progress::PullProgress;
pub(crate) use queue::Queue;
pub(crate) use registry_credential::RegistryCredential;
pub(crate) use token::ApiToken;
pub(crate) use user::{User, UserFilter, images, jobs};

use async_graphql::{ID, Interface, SimpleObject};
use wharfinger_jobs::error;

use super::enums::UserErrorCode;

/// Anything with an id.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Unique among everything that has an id."
))]
pub(crate) enum Node {
    /// A user.
    User(User),
    /// An image.
    Image(Image),
    /// A job.
    Job(Job),
    /// A host.
    Host(Host),
    /// A movement of credits.
    LedgerEntry(LedgerEntry),
    /// An administrative act.
    AuditEntry(AuditEntry),
    /// A login at a registry.
    RegistryCredential(RegistryCredential),
    /// A token.
    ApiToken(ApiToken),
}

/// A problem that the caller can mend. Nothing changed for the item at fault.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct UserError {
    /// The kind of problem, for programs.
    code: UserErrorCode,
    /// For people; says what was wrong and what would be right.
    message: String,
    /// Path of the input field at fault: ["input", "reference"]. Null where it is not a single one.
    field: Option<Vec<String>>,
}

impl UserError {
    /// A problem with one of several jobs, which the message names.
    pub(crate) fn of_job(id: &ID, error: &error::UserError) -> Self {
        Self {
            code: error.code.into(),
            message: format!("{}: {}", id.as_str(), error.message),
            field: None,
        }
    }
}

impl From<error::UserError> for UserError {
    fn from(error: error::UserError) -> Self {
        Self {
            code: error.code.into(),
            message: error.message.into(),
            field: error
                .field
                .map(|path| path.into_iter().map(str::to_owned).collect()),
        }
    }
}
