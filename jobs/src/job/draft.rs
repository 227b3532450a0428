//! A job as it is accepted.

use sea_orm::ActiveValue::{NotSet, Set};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobKind, job};

use crate::ledger::Account;
use crate::services::Services;

/// A job that holds nothing yet. The caller adds what is particular to its kind, and [`crate::job::transition::accepted`] its
/// state.
pub(crate) fn draft(
    services: &Services,
    account: &mut Account<'_>,
    kind: JobKind,
    host_id: Uuid,
    turn: i64,
    reference: String,
) -> job::ActiveModel {
    let user_id = account.user().id;
    let now = account.now();
    job::ActiveModel {
        id: Set(Uuid::now_v7()),
        kind: Set(kind),
        user_id: Set(user_id),
        host_id: Set(Some(host_id)),
        host_named: Set(true),
        reference: Set(reference),
        image_id: Set(None),
        engine_image_id: Set(None),
        held: Set(Credits::ZERO),
        attempt: Set(0),
        max_attempts: Set(services.settings.retry.attempts()),
        ordinal: Set(account.next_ordinal()),
        turn: Set(turn),
        push: Set(0),
        progress: Set(None),
        traceparent: Set(None),
        created_at: Set(now),
        started_at: Set(None),
        removal_of: Set(None),
        // Set by the transition. All columns are named, so that a new one does not compile until it is decided here.
        state: NotSet,
        run_after: NotSet,
        dispatched_at: NotSet,
        rate_limited_since: NotSet,
        free_in_a_row: NotSet,
        redrive_refused_at: NotSet,
        worker: NotSet,
        lease_until: NotSet,
        cancel_requested: NotSet,
        touched_engine: NotSet,
        sequence: NotSet,
        error_code: NotSet,
        error_message: NotSet,
        error_retryable: NotSet,
        accepted_at: NotSet,
        finished_at: NotSet,
        discarded_at: NotSet,
        live: NotSet,
    }
}
