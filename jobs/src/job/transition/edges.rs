//! The table of transitions: the states between which a job may go.

use sea_orm::DbErr;
use wharfinger_entity::JobState;

/// A change of a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A mutation, a schedule or a sweep asked for it.
    Accepted,
    /// A worker took it for an attempt.
    Claimed,
    /// It is done.
    Succeeded,
    /// It ended, and another attempt cannot help.
    Failed,
    /// The attempt failed, and another one follows.
    Retried,
    /// The last attempt failed for a reason that might have passed.
    Dead,
    /// It was stopped by request.
    Cancelled,
    /// Its worker stops in an orderly way.
    HandedBack,
    /// It ended badly, and is to run again.
    AcceptedAgain,
}

impl Transition {
    /// The transition in words, as in the diagram and in errors.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Claimed => "claimed",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retried => "to be retried",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::HandedBack => "handed back",
            Self::AcceptedAgain => "accepted again",
        }
    }
}

/// One way from a state to another; from none, where the job is new.
pub type Edge = (Option<JobState>, Transition, JobState);

/// Every way that a job may go.
pub const EDGES: &[Edge] = {
    use JobState::{Cancelled, Dead, Failed, Queued, Retrying, Running, Succeeded};
    use Transition as By;
    &[
        (None, By::Accepted, Queued),
        // A pull of what is public on its host needs no worker.
        (None, By::Succeeded, Succeeded),
        (Some(Queued), By::Claimed, Running),
        (Some(Retrying), By::Claimed, Running),
        (Some(Running), By::Succeeded, Succeeded),
        // The holding ended by itself, or the pull was moved to a host where its reference is public.
        (Some(Queued), By::Succeeded, Succeeded),
        (Some(Retrying), By::Succeeded, Succeeded),
        (Some(Running), By::Failed, Failed),
        // Its host is lost.
        (Some(Queued), By::Failed, Failed),
        (Some(Retrying), By::Failed, Failed),
        (Some(Running), By::Retried, Retrying),
        (Some(Running), By::HandedBack, Retrying),
        (Some(Running), By::Dead, Dead),
        (Some(Running), By::Cancelled, Cancelled),
        (Some(Queued), By::Cancelled, Cancelled),
        (Some(Retrying), By::Cancelled, Cancelled),
        (Some(Failed), By::AcceptedAgain, Queued),
        (Some(Dead), By::AcceptedAgain, Queued),
        (Some(Cancelled), By::AcceptedAgain, Queued),
    ]
};

/// The state that a transition leads to. Fails where [`EDGES`] has no such way, which is a fault of the caller.
pub(super) fn target(from: Option<JobState>, by: Transition) -> Result<JobState, DbErr> {
    let mut edges = EDGES.iter();
    let edge = edges.find(|(source, transition, _)| (*source, *transition) == (from, by));
    edge.map(|(.., to)| *to).ok_or_else(|| {
        let from = from.map_or("new", state_label);
        DbErr::Custom(format!("a job that is {from} cannot be {}", by.label()))
    })
}

/// Whether a job in this state may go this way.
pub(crate) fn allows(from: JobState, by: Transition) -> bool {
    target(Some(from), by).is_ok()
}

/// The state in words, for messages.
pub(crate) fn state_label(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Retrying => "waiting to try again",
        JobState::Succeeded => "done",
        JobState::Failed => "failed",
        JobState::Dead => "dead",
        JobState::Cancelled => "cancelled",
    }
}
