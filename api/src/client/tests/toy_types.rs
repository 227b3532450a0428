//! The types of the toy gateway: enums are plain strings, which look the same on the wire.

use async_graphql::{ComplexObject, ID, InputObject, SimpleObject};

/// Declares objects of the toy's schema.
macro_rules! objects {
    ($derives:tt: $($name:ident { $($field:ident: $type:ty),* $(,)? })+) => {
        $(
            #[derive $derives]
            pub(crate) struct $name { $(pub(crate) $field: $type,)* }
        )+
    };
}

objects! { (Clone, Debug, SimpleObject):
    Ledger { nodes: Vec<LedgerEntry> }
    Balance { available: String, held: String, total: String }
    LedgerEntry { kind: String, amount: String, job: Option<JobRef> }
    JobRef { id: ID }
    Host { id: ID, name: String }
    PageInfo { has_next_page: bool, end_cursor: Option<String> }
    HostConnection { nodes: Vec<Host>, page_info: PageInfo }
    ImageConnection { nodes: Vec<Image>, page_info: PageInfo }
    JobConnection { nodes: Vec<Job>, page_info: PageInfo }
    Image {
        id: ID, reference: String, familiar_name: String, digest: Option<String>, image_id: String, size: u64,
        charge: String, visibility: String, state: String, pulled_at: String, host: Host,
    }
    JobError { code: String, message: String, retryable: bool }
    Job {
        id: ID, kind: String, state: String, reference: Option<String>, attempt: i32, max_attempts: i32, held: String,
        created_at: String, started_at: Option<String>, finished_at: Option<String>, next_attempt_at: Option<String>,
        host: Option<Host>, error: Option<JobError>, image: Option<Image>, progress: Option<PullProgress>,
    }
    PullProgress {
        sequence: i32, state: String, phase: String, attempt: i32, downloaded: u64, total: Option<u64>, reused: u64,
        bytes_per_second: Option<u64>, remaining_seconds: Option<i32>, layers: Vec<LayerProgress>,
    }
    LayerProgress { id: String, state: String, downloaded: u64, total: Option<u64> }
    UserError { code: String, message: String, field: Option<Vec<String>> }
    JobPayload { job: Option<Job>, user_errors: Vec<UserError> }
    SignInPayload { token: Option<String>, user_errors: Vec<UserError> }
}

objects! { (Clone, Debug, Default, InputObject):
    ImageFilter { states: Option<Vec<String>>, search: Option<String> }
    JobFilter { states: Option<Vec<String>> }
    SignInInput { name: String, password: String }
    PullImageInput { reference: String, host_id: Option<ID>, idempotency_key: Option<String> }
    RemoveImageInput { image_id: ID, idempotency_key: Option<String> }
    CancelJobInput { job_id: ID }
    RetryJobInput { job_id: ID, idempotency_key: Option<String> }
}

/// `alice`, whose name tries to clear the screen.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Viewer {
    pub(crate) name: String,
    pub(crate) balance: Balance,
    #[graphql(skip)]
    pub(crate) ledger: Vec<LedgerEntry>,
}

#[ComplexObject]
impl Viewer {
    async fn ledger(&self, #[graphql(name = "first")] _first: i32) -> Ledger {
        Ledger {
            nodes: self.ledger.clone(),
        }
    }
}

pub(crate) fn balance() -> Balance {
    Balance {
        available: "882.7".into(),
        held: "0".into(),
        total: "882.7".into(),
    }
}

pub(crate) fn host(number: u32) -> Host {
    Host {
        id: format!("host-id-{number}").into(),
        name: format!("host-{number}"),
    }
}

pub(crate) fn user_error(code: &str, message: &str) -> UserError {
    UserError {
        code: code.into(),
        message: message.into(),
        field: None,
    }
}

/// A held private image of redis on a host.
pub(crate) fn image(id: &str, tag: &str, on: u32) -> Image {
    Image {
        id: id.into(),
        reference: format!("docker.io/library/redis:{tag}"),
        familiar_name: format!("redis:{tag}"),
        digest: Some("sha256:dddd".into()),
        image_id: format!("sha256:abcdef{tag}{}", "0".repeat(50)),
        size: 117_300_000,
        charge: "117.3".into(),
        visibility: "PRIVATE".into(),
        state: "HELD".into(),
        pulled_at: "2024-01-01T00:00:00Z".into(),
        host: host(on),
    }
}

/// `job-1`, a pull of redis:7.
pub(crate) fn job(state: &str) -> Job {
    let ended = state == "SUCCEEDED";
    Job {
        id: "job-1".into(),
        kind: "PULL_IMAGE".into(),
        state: state.into(),
        reference: Some("docker.io/library/redis:7".into()),
        attempt: 1,
        max_attempts: 5,
        held: "300".into(),
        created_at: "2024-01-01T00:00:00Z".into(),
        started_at: None,
        finished_at: None,
        next_attempt_at: None,
        host: Some(host(1)),
        error: None,
        image: ended.then(|| image("image-1", "7", 1)),
        progress: None,
    }
}

/// A running pull with two layers, the first of which is in this state.
pub(crate) fn progress(sequence: i32, phase: &str, first_layer: &str) -> PullProgress {
    let layer = |id: &str, state: &str| LayerProgress {
        id: id.into(),
        state: state.into(),
        downloaded: 0,
        total: Some(2_000_000),
    };
    PullProgress {
        sequence,
        state: if phase == "DONE" {
            "SUCCEEDED".into()
        } else {
            "RUNNING".into()
        },
        phase: phase.into(),
        attempt: 1,
        downloaded: 0,
        total: Some(4_000_000),
        reused: 0,
        bytes_per_second: None,
        remaining_seconds: None,
        layers: vec![
            layer("sha256:aaaaaaaaaaaaaaaa", first_layer),
            layer("bbbbbbbbbbbb", "REUSED"),
        ],
    }
}
