//! Credits as administrators give and take them.

use futures::future::join_all;
use sea_orm::{EntityTrait as _, QueryOrder as _};
use wharfinger_entity::{AuditAction, Credits, LedgerEntryKind, Role, ledger_entry, user};
use wharfinger_jobs::accounts::{GrantCredits, grant_credits};
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::services::Services;

use super::{Place, audit_log, make_user, refusal, row};
use crate::support::invariants::check_invariants;
use crate::support::{Shape, credits, on_every_database};

on_every_database!(
    grants_add_up_and_never_go_below_zero,
    a_key_moves_credits_once,
);

async fn ledger(services: &Services) -> Vec<ledger_entry::Model> {
    ledger_entry::Entity::find()
        .order_by_asc(ledger_entry::Column::Number)
        .all(services.db.read())
        .await
        .unwrap()
}

fn grant<'a>(caller: &'a user::Model, to: &user::Model, amount: &str) -> GrantCredits<'a> {
    GrantCredits {
        caller,
        user_id: Some(to.id),
        amount: credits(amount),
        reason: "for the course",
        idempotency_key: None,
    }
}

async fn grants_add_up_and_never_go_below_zero(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let admin = make_user(&services, "admin", Role::Admin, None).await;
    let ada = make_user(&services, "ada", Role::User, None).await;
    let give = async |amount: &str| grant_credits(&services, &grant(&admin, &ada, amount)).await;
    let (user, entry) = give("50.5").await.unwrap();
    assert_eq!(user.total, credits("150.5"));
    assert_eq!(entry.total_after, user.total);
    assert_eq!(entry.kind, LedgerEntryKind::Grant);
    assert_eq!(entry.reason.as_deref(), Some("for the course"));
    let (user, entry) = give("-150.5").await.unwrap();
    assert_eq!(user.total, Credits::ZERO);
    assert_eq!(entry.kind, LedgerEntryKind::Adjustment);
    let before = ledger(&services).await;
    for (amount, code) in [
        ("-0.000001", UserErrorCode::InsufficientCredits),
        ("0", UserErrorCode::InvalidAmount),
    ] {
        assert_eq!(refusal(give(amount).await).code, code, "{amount}");
    }
    give("9000000000000").await.unwrap();
    let too_many = refusal(give("9000000000000").await);
    assert_eq!(too_many.code, UserErrorCode::InvalidAmount);
    give("-9000000000000").await.unwrap();
    for reason in ["", " ", "a\nb", &"x".repeat(256)] {
        let bad = GrantCredits {
            reason,
            ..grant(&admin, &ada, "1")
        };
        let error = refusal(grant_credits(&services, &bad).await);
        assert_eq!(error.code, UserErrorCode::InvalidInput);
        assert_eq!(error.field, Some(vec!["input", "reason"]));
    }
    let nobody = GrantCredits {
        user_id: None,
        ..grant(&admin, &ada, "1")
    };
    let unknown = refusal(grant_credits(&services, &nobody).await);
    assert_eq!(unknown.code, UserErrorCode::UserNotFound);
    let late = grant_credits(&services, &grant(&ada, &ada, "1")).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");
    assert_eq!(ledger(&services).await.len(), before.len() + 2);
    let acts = audit_log(&services).await;
    let grants = acts
        .iter()
        .filter(|act| act.action == AuditAction::GrantCredits);
    assert_eq!(grants.count(), 4, "one act for each movement");
    check_invariants(&services.db).await;
}

async fn a_key_moves_credits_once(shape: Shape) {
    let place = Place::new(shape).await;
    let gateways = join_all((0..4).map(|_| place.gateway())).await;
    let one = &gateways[0];
    let admin = make_user(one, "admin", Role::Admin, None).await;
    let ada = make_user(one, "ada", Role::User, None).await;
    let bob = make_user(one, "bob", Role::User, None).await;
    let keyed = |to: &user::Model, amount: &str| GrantCredits {
        idempotency_key: Some("once"),
        ..grant(&admin, to, amount)
    };
    let grants = gateways.iter().map(|services| {
        let grant = keyed(&ada, "5");
        async move { grant_credits(services, &grant).await }
    });
    let mut entries: Vec<_> = join_all(grants)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().1.id)
        .collect();
    entries.dedup();
    assert_eq!(entries.len(), 1);
    assert_eq!(row(one, ada.id).await.total, credits("105"));
    let other_reason = GrantCredits {
        reason: "another",
        ..keyed(&ada, "5")
    };
    for other in [keyed(&ada, "6"), keyed(&bob, "5"), other_reason] {
        let conflict = refusal(grant_credits(one, &other).await);
        assert_eq!(conflict.code, UserErrorCode::IdempotencyConflict);
    }
    // The key is the caller's own.
    let second = make_user(one, "second", Role::Admin, None).await;
    let theirs = GrantCredits {
        caller: &second,
        ..keyed(&ada, "5")
    };
    grant_credits(one, &theirs).await.unwrap();
    assert_eq!(row(one, ada.id).await.total, credits("110"));
    check_invariants(&one.db).await;
}
