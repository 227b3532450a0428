//! Signing in and out, and changing the password.

use std::time::Duration;

use wharfinger_entity::{Role, UserStatus};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::accounts::{
    ChangePassword, authenticate, change_password, create_api_token, sign_in, sign_out, update_user,
};
use wharfinger_jobs::error::UserErrorCode;

use super::{PASSWORD, Place, make_user, refusal, row, signed_in, status, works};
use crate::support::{Shape, on_every_shape};

on_every_shape!(
    a_password_is_exchanged_for_a_token_that_ends,
    what_is_wrong_is_answered_alike_after_the_same_work,
    another_password_ends_the_other_sign_ins,
);

async fn a_password_is_exchanged_for_a_token_that_ends(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let ada = make_user(&services, "Ada", Role::User, Some(PASSWORD)).await;
    let (token, secret) = signed_in(&services, "aDA", PASSWORD).await;
    assert!(secret.starts_with("whf_") && token.sign_in);
    assert!(!token.secret_hash.contains(&secret[4..]));

    let found = authenticate(&services.db, &secret, services.clock.now()).await;
    assert_eq!(found.unwrap().unwrap().user.id, ada.id);
    for other in ["", "whf_", &secret[4..], &format!("{secret}0")] {
        assert!(!works(&services, other).await, "{other}");
    }
    sign_out(&services, &token).await.unwrap();
    assert!(!works(&services, &secret).await);

    let (_, secret) = signed_in(&services, "Ada", PASSWORD).await;
    let (lifetime, second) = (services.settings.sessions.lifetime, Duration::from_secs(1));
    place.clock.advance(lifetime.saturating_sub(second));
    assert!(works(&services, &secret).await);
    place.clock.advance(second);
    assert!(!works(&services, &secret).await);
}

async fn what_is_wrong_is_answered_alike_after_the_same_work(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let admin = make_user(&services, "admin", Role::Admin, None).await;
    make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let banned = make_user(&services, "banned", Role::User, Some(PASSWORD)).await;
    let ban = status(banned.id, UserStatus::Banned);
    let banned = update_user(&services, &Actor::from(&admin), &ban).await;
    banned.unwrap();

    let long = "x".repeat(5000);
    let expected = refusal(sign_in(&services, "ada", "wrong", None).await);
    assert_eq!(expected.code, UserErrorCode::InvalidCredentials);
    assert_eq!(expected.field, None);
    for (name, password) in [
        ("nobody", PASSWORD),
        ("banned", PASSWORD),
        ("admin", ""),
        ("ada", ""),
        ("ada", &long),
        (&long, PASSWORD),
        ("", ""),
    ] {
        let before = services.passwords.computed();
        let answer = refusal(sign_in(&services, name, password, None).await);
        assert_eq!(answer, expected);
        assert_eq!(services.passwords.computed(), before + 1);
    }
}

async fn another_password_ends_the_other_sign_ins(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let ada = make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let (current, current_secret) = signed_in(&services, "ada", PASSWORD).await;
    let (_, other_secret) = signed_in(&services, "ada", PASSWORD).await;
    let (_, named_secret) = create_api_token(&services, ada.id, "script", None)
        .await
        .unwrap();
    let change = |current_password, new| ChangePassword {
        user: &ada,
        token_id: current.id,
        address: None,
        current: current_password,
        new,
    };
    let next = "a wharf of many colours";
    for (old, new, code, field) in [
        ("wrong", next, UserErrorCode::InvalidCredentials, "current"),
        (PASSWORD, "password1", UserErrorCode::WeakPassword, "new"),
        (PASSWORD, "ada", UserErrorCode::WeakPassword, "new"),
        (PASSWORD, PASSWORD, UserErrorCode::InvalidInput, "new"),
    ] {
        let answer = refusal(change_password(&services, &change(old, new)).await);
        assert_eq!(
            (answer.code, answer.field),
            (code, Some(vec!["input", field])),
            "{new}"
        );
    }
    assert_eq!(row(&services, ada.id).await, ada, "nothing changed");

    change_password(&services, &change(PASSWORD, next))
        .await
        .unwrap();
    assert!(works(&services, &current_secret).await);
    assert!(!works(&services, &other_secret).await);
    assert!(works(&services, &named_secret).await);
    refusal(sign_in(&services, "ada", PASSWORD, None).await);
    signed_in(&services, "ada", next).await;
    // Who read the user before knows an old password hash, and does not get by with it.
    let stale =
        refusal(change_password(&services, &change(PASSWORD, "one more of the many")).await);
    assert_eq!(stale.code, UserErrorCode::InvalidCredentials);
}

/// A hundred and one passwords take a while, and the statement is the same everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_are_signed_in_at_once() {
    let place = Place::new(Shape::Embedded).await;
    let services = place.gateway().await;
    make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let (_, first) = signed_in(&services, "ada", PASSWORD).await;
    let (_, second) = signed_in(&services, "ada", PASSWORD).await;
    for _ in 0..99 {
        signed_in(&services, "ada", PASSWORD).await;
    }
    assert!(!works(&services, &first).await && works(&services, &second).await);
}
