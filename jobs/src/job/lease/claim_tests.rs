use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use wharfinger_entity::{Credits, JobKind, Role};

use super::*;
use crate::accounts::{NewUser, create_user};
use crate::infra::clock::Clock;
use crate::job::draft;
use crate::ledger::Account;
use crate::services::test_services::on_sqlite;

const WORKER: &str = "one/1";

/// A job that waits on a host, handed out for the first time.
async fn handed_out(folder: &tempfile::TempDir) -> (Services, Uuid, Uuid) {
    let services = on_sqlite(folder).await;
    let (db, now) = (&services.db, services.clock.now());
    let host = crate::hosts::join(db, "one", &services.settings.worker, now);
    let host_id = host.await.unwrap().id;
    let new = NewUser {
        name: "ada".into(),
        role: Role::User,
        password_hash: None,
        credits: Credits::ZERO,
    };
    let user = create_user(db, &new, now).await.unwrap();
    let tx = db.begin().await.unwrap();
    let mut account = Account::lock(&tx, user.id, now).await.unwrap();
    let kind = JobKind::PullImage;
    let job = draft::draft(&services, &mut account, kind, host_id, 0, "a".into());
    let job = transition::accepted(&tx, job, now).await.unwrap();
    account.save().await.unwrap();
    tx.commit().await.unwrap();
    hand_out(&services, job.id, 1).await;
    (services, host_id, job.id)
}

async fn hand_out(services: &Services, id: Uuid, push: i32) {
    let noted = job::ActiveModel {
        id: Set(id),
        push: Set(push),
        dispatched_at: Set(Some(services.clock.now())),
        ..Default::default()
    };
    noted.update(services.db.write()).await.unwrap();
}

/// Claims for the message of a push, which was sent after so many attempts; no push stands for a message of a version that did
/// not count them.
async fn try_to(
    services: &Services,
    host_id: Uuid,
    job_id: Uuid,
    (push, attempt): (Option<i32>, i32),
) -> Option<Lease> {
    let message = Dispatch {
        job_id,
        push,
        attempt,
        traceparent: None,
    };
    match claim(services, host_id, WORKER, &message).await.unwrap() {
        Claim::Taken(_, lease, _) => Some(lease),
        Claim::NotClaimable | Claim::ChangedSince => None,
    }
}

/// A worker takes its time between the message and the claim.
#[tokio::test]
async fn a_message_of_an_earlier_push_of_the_same_attempt_claims() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    for push in 2..5 {
        hand_out(&services, job, push).await;
    }
    let lease = try_to(&services, host, job, (Some(1), 0)).await;
    assert_eq!(lease.unwrap().attempt, 1);
    for push in 1..5 {
        let twice = try_to(&services, host, job, (Some(push), 0)).await;
        assert_eq!(twice, None, "{push}");
    }
}

#[tokio::test]
async fn a_message_of_an_earlier_attempt_claims_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    let lease = try_to(&services, host, job, (Some(1), 0)).await.unwrap();
    let waits = end(&services, &lease, Outcome::HandedBack).await.unwrap();
    assert_eq!(waits.unwrap().state, JobState::Retrying);
    // Nor when it is handed out again.
    for push in 1..3 {
        hand_out(&services, job, push).await;
        assert_eq!(try_to(&services, host, job, (Some(push), 0)).await, None);
    }
    let lease = try_to(&services, host, job, (Some(2), 1)).await;
    assert_eq!(lease.unwrap().attempt, 2);
}

#[tokio::test]
async fn what_is_due_is_judged_by_the_dispatcher_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut services, host, job) = handed_out(&folder).await;
    let behind = services.clock.now().before(Duration::from_secs(30));
    services.clock = Clock::wrong(behind);
    // One without a number may be of an earlier wait.
    assert_eq!(try_to(&services, host, job, (None, 0)).await, None);
    assert!(try_to(&services, host, job, (Some(1), 0)).await.is_some());
}

#[tokio::test]
async fn a_message_without_a_number_claims_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    assert!(try_to(&services, host, job, (None, 7)).await.is_some());
    assert_eq!(try_to(&services, host, job, (None, 7)).await, None);
}
