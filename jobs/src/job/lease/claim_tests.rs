use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use wharfinger_entity::{Credits, JobKind, Role};

use super::*;
use crate::accounts::{NewUser, create_user};
use crate::job::draft;
use crate::ledger::Account;
use crate::services::test_services::on_sqlite;

const WORKER: &str = "one/1";

/// A job that waits on a host, handed out for the third time.
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
    hand_out(&services, job.id, 3).await;
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

/// Claims for the message of a push; none stands for one of a version that did not count them.
async fn try_to(
    services: &Services,
    host_id: Uuid,
    job_id: Uuid,
    push: Option<i32>,
) -> Option<Lease> {
    let message = Dispatch {
        job_id,
        push,
        attempt: 0,
        traceparent: None,
    };
    match claim(services, host_id, WORKER, &message).await.unwrap() {
        Claim::Taken(_, lease, _) => Some(lease),
        Claim::NotClaimable | Claim::ChangedSince => None,
    }
}

async fn claimed(services: &Services, host_id: Uuid, job_id: Uuid, push: Option<i32>) -> bool {
    try_to(services, host_id, job_id, push).await.is_some()
}

#[tokio::test]
async fn a_message_of_an_earlier_push_claims_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    for push in [1, 2, 4] {
        assert!(!claimed(&services, host, job, Some(push)).await, "{push}");
    }
    assert!(claimed(&services, host, job, Some(3)).await);
}

#[tokio::test]
async fn a_message_that_comes_twice_claims_once() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    let lease = try_to(&services, host, job, Some(3)).await.unwrap();
    assert!(!claimed(&services, host, job, Some(3)).await);
    // Nor when the job waits again: it has not been handed out since.
    let waits = end(&services, &lease, Outcome::HandedBack).await.unwrap();
    assert_eq!(waits.unwrap().state, JobState::Retrying);
    assert!(!claimed(&services, host, job, Some(3)).await);
    hand_out(&services, job, 4).await;
    assert!(claimed(&services, host, job, Some(4)).await);
    let attempts = job::Entity::find_by_id(job).one(services.db.read()).await;
    assert_eq!(attempts.unwrap().unwrap().attempt, 2);
}

#[tokio::test]
async fn a_message_without_a_number_claims_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (services, host, job) = handed_out(&folder).await;
    assert!(claimed(&services, host, job, None).await);
    assert!(!claimed(&services, host, job, None).await);
}
