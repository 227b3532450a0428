//! Announcements to watchers after a change was committed. The database is the truth; an announcement only says when to
//! look, except for progress, which travels whole.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharfinger_entity::{JobKind, JobState, job};

use crate::live::events::{Events, Topic};
use crate::live::progress_event::ProgressEvent;

/// A change of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The job.
    pub job_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Its host.
    pub host_id: Option<Uuid>,
    /// Its kind.
    pub kind: JobKind,
    /// Its state now.
    pub state: JobState,
    /// Whether a cancellation is requested.
    pub cancel_requested: bool,
}

impl Change {
    /// The job as it is now.
    pub fn of(job: &job::Model) -> Self {
        Self {
            job_id: job.id,
            user_id: job.user_id,
            host_id: job.host_id,
            kind: job.kind,
            state: job.state,
            cancel_requested: job.cancel_requested,
        }
    }
}

/// A request for the progress of a job to the worker that runs it. The database knows only what was saved at the last renewal
/// of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressRequest {
    /// The job. Its name in the event is the one that workers of earlier versions read.
    #[serde(rename = "how_far_is")]
    pub(crate) job_id: Uuid,
}

/// Asks for the progress of a job. The answer comes as an event of its progress, if a worker runs it.
pub(crate) fn ask(events: &Events, job_id: Uuid) {
    events.publish(Topic::AllJobs, encode(&ProgressRequest { job_id }));
}

/// Announces a change of state to the watchers of its owner's jobs and of all jobs, and a change of the owner's credits.
pub(crate) fn job_changed(events: &Events, change: &Change, credits_moved: bool) {
    let payload = encode(change);
    events.publish(Topic::UserJobs(change.user_id), payload.clone());
    events.publish(Topic::AllJobs, payload);
    if credits_moved {
        balance_changed(events, change.user_id);
    }
}

/// Announces that a user's credits changed.
pub(crate) fn balance_changed(events: &Events, user_id: Uuid) {
    events.publish(Topic::Balance(user_id), encode(&()));
}

/// Announces that a user may do less than before, to every gateway that has connections of theirs.
pub(crate) fn access_changed(events: &Events, user_id: Uuid) {
    events.publish(Topic::Access, encode(&user_id));
}

/// Publishes one event of a job's progress.
pub fn progress(events: &Events, job_id: Uuid, frame: &ProgressEvent) {
    events.publish(Topic::Job(job_id), encode(frame));
}

fn encode<T: Serialize>(value: &T) -> std::sync::Arc<[u8]> {
    serde_json::to_vec(value)
        .expect("plain data without maps of odd keys always encodes")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_request_is_the_json_that_earlier_versions_send_and_read() {
        let job_id = Uuid::from_u128(1);
        let json = br#"{"how_far_is":"00000000-0000-0000-0000-000000000001"}"#;
        let request = ProgressRequest { job_id };
        assert_eq!(*encode(&request), *json);
        assert_eq!(
            serde_json::from_slice::<ProgressRequest>(json).unwrap(),
            request
        );
    }
}
