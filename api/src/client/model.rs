//! The types of the documents' data. They serialise under the contract's names for `--json`.

use super::text::Text;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Declares an enum of the contract that keeps values which a newer server added.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $text)] $variant,)+
            #[serde(untagged)]
            Other(Text),
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.pad($text),)+
                    Self::Other(text) => text.fmt(f),
                }
            }
        }
    };
}

open_enum! {
    /// The state of a job.
    JobState {
        Queued = "QUEUED", Running = "RUNNING", Retrying = "RETRYING", Succeeded = "SUCCEEDED",
        Failed = "FAILED", Dead = "DEAD", Cancelled = "CANCELLED",
    }
}
open_enum! {
    /// The kind of a job.
    JobKind { PullImage = "PULL_IMAGE", RemoveImage = "REMOVE_IMAGE" }
}
open_enum! {
    /// The current step of a pull.
    PullPhase {
        Waiting = "WAITING", Resolving = "RESOLVING", Downloading = "DOWNLOADING",
        Extracting = "EXTRACTING", Settling = "SETTLING", Done = "DONE",
    }
}
open_enum! {
    /// The state of a layer.
    LayerState {
        Waiting = "WAITING", Downloading = "DOWNLOADING", Downloaded = "DOWNLOADED",
        Extracting = "EXTRACTING", Done = "DONE", Reused = "REUSED",
    }
}
open_enum! {
    /// Who may see an image.
    ImageVisibility { Private = "PRIVATE", Public = "PUBLIC" }
}
impl JobState {
    /// Returns whether the job has ended.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Dead | Self::Cancelled
        )
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: Text,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) available: Text,
    pub(crate) held: Text,
    pub(crate) total: Text,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) id: Text,
    pub(crate) name: Text,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_field_names,
    reason = "`image_id` is the contract's name for the engine's id"
)]
pub(crate) struct Image {
    pub(crate) id: Text,
    pub(crate) reference: Text,
    pub(crate) familiar_name: Text,
    pub(crate) digest: Option<Text>,
    pub(crate) image_id: Text,
    pub(crate) size: u64,
    pub(crate) charge: Text,
    pub(crate) visibility: ImageVisibility,
    pub(crate) state: Text,
    pub(crate) pulled_at: DateTime<Utc>,
    pub(crate) host: Host,
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message} ({code})")]
pub(crate) struct JobError {
    pub(crate) code: Text,
    pub(crate) message: Text,
    pub(crate) retryable: bool,
}

/// A job. `image` and `progress` are there only where the document selects them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) id: Text,
    pub(crate) kind: JobKind,
    pub(crate) state: JobState,
    pub(crate) reference: Option<Text>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) held: Text,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) host: Option<Host>,
    pub(crate) error: Option<JobError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Image>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<PullProgress>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PullProgress {
    pub(crate) sequence: i64,
    pub(crate) state: JobState,
    pub(crate) phase: PullPhase,
    pub(crate) attempt: u32,
    pub(crate) downloaded: u64,
    pub(crate) total: Option<u64>,
    pub(crate) reused: u64,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) remaining_seconds: Option<u64>,
    pub(crate) layers: Vec<LayerProgress>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerProgress {
    pub(crate) id: Text,
    pub(crate) state: LayerState,
    pub(crate) downloaded: u64,
    pub(crate) total: Option<u64>,
}

/// One page of a connection.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) nodes: Vec<T>,
    pub(crate) page_info: PageInfo,
}

/// Whether more pages follow in the direction of reading, and the cursor to ask for them with.
#[derive(Deserialize)]
pub(crate) struct PageInfo {
    #[serde(alias = "hasNextPage", alias = "hasPreviousPage")]
    has_more: bool,
    #[serde(alias = "endCursor", alias = "startCursor")]
    cursor: Option<String>,
}

impl PageInfo {
    /// Sets the variable `name` to the cursor of the next page. Returns false after the last one. A server that repeats its
    /// cursor would never end, so that counts as the last page too.
    pub(crate) fn advance(self, name: &str, variables: &mut Value) -> bool {
        match self.cursor {
            Some(cursor) if self.has_more && variables[name] != cursor => {
                variables[name] = cursor.into();
                true
            }
            _ => false,
        }
    }
}

/// A user in a list.
#[derive(Deserialize)]
pub(crate) struct NamedUser {
    pub(crate) id: Text,
    pub(crate) name: Text,
}

/// A page of a user's movements of credits, the newest first.
#[derive(Deserialize)]
pub(crate) struct Account {
    pub(crate) ledger: Page<StatementEntry>,
}

/// One movement of credits.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatementEntry {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) kind: Text,
    pub(crate) amount: Text,
    pub(crate) total_after: Text,
    pub(crate) reference: Option<Text>,
    pub(crate) reason: Option<Text>,
    pub(crate) job: Option<EntryJob>,
}

/// The job that moved credits.
#[derive(Serialize, Deserialize)]
pub(crate) struct EntryJob {
    pub(crate) id: Text,
}

/// The viewer's credits and their newest movements.
#[derive(Deserialize)]
pub(crate) struct Wallet {
    pub(crate) balance: Balance,
    pub(crate) ledger: Movements,
}

#[derive(Deserialize)]
pub(crate) struct Movements {
    pub(crate) nodes: Vec<Movement>,
}

#[derive(Deserialize)]
pub(crate) struct Movement {
    pub(crate) kind: Text,
    pub(crate) amount: Text,
    pub(crate) job: Option<EntryJob>,
}

/// A problem that the caller can fix, as a mutation returned it.
#[derive(Clone, Debug, thiserror::Error, Deserialize)]
#[error("{message} ({code})")]
pub struct UserError {
    pub(crate) code: Text,
    pub(crate) message: Text,
}

/// The payload of every mutation that creates or changes a job.
#[derive(Deserialize)]
pub(crate) struct JobPayload {
    pub(crate) job: Job,
}

#[derive(Deserialize)]
pub(crate) struct SignInPayload {
    pub(crate) token: String,
}
