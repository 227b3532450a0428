//! Wrong passwords make the next try wait, by a clock that the test moves.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use wharfinger_entity::Role;
use wharfinger_jobs::accounts::{ChangePassword, change_password, sign_in};
use wharfinger_jobs::error::ServiceError;

use super::{PASSWORD, Place, make_user, refusal, signed_in, throttled};
use crate::support::{Shape, on_every_shape};

on_every_shape!(
    the_wait_grows_for_a_name_on_every_gateway,
    the_wait_grows_for_an_address_whatever_the_name,
    many_tries_at_once_are_no_more_than_many_in_a_row,
);

async fn the_wait_grows_for_a_name_on_every_gateway(shape: Shape) {
    let place = Place::new(shape).await;
    let (one, two) = (place.gateway().await, place.gateway().await);
    let ada = make_user(&one, "ada", Role::User, Some(PASSWORD)).await;
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            refusal(sign_in(&one, name, "wrong", None).await);
        }
        for seconds in [1, 2, 4, 8] {
            let wait = Duration::from_secs(seconds);
            // The right password is not looked at either: it would be a way to know it.
            let looked_at = two.passwords.computed();
            let spelled = name.to_uppercase();
            let told = throttled(sign_in(&two, &spelled, PASSWORD, None).await);
            assert_eq!(told, wait);
            assert_eq!(two.passwords.computed(), looked_at);
            let moment = Duration::from_millis(1);
            place.clock.advance(wait.saturating_sub(moment));
            let left = throttled(sign_in(&two, name, PASSWORD, None).await);
            assert_eq!(left, moment);
            place.clock.advance(left);
            refusal(sign_in(&one, name, "wrong", None).await);
        }
    }
    // A stolen token does not help to guess.
    place.clock.advance(Duration::from_secs(16));
    let (token, _) = signed_in(&one, "ada", PASSWORD).await;
    let guess = ChangePassword {
        user: &ada,
        token_id: token.id,
        address: None,
        current: "wrong",
        new: "something quite else",
    };
    // Signing in wiped the slate.
    for _ in 0..5 {
        refusal(change_password(&one, &guess).await);
    }
    throttled(change_password(&two, &guess).await);
    throttled(sign_in(&two, "ada", PASSWORD, None).await);
    // What is long ago is forgotten.
    place.clock.advance(Duration::from_hours(1));
    for _ in 0..5 {
        refusal(sign_in(&one, "ada", "wrong", None).await);
    }
}

async fn the_wait_grows_for_an_address_whatever_the_name(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let address: Option<IpAddr> = Some("192.0.2.7".parse().unwrap());
    for n in 0..20 {
        // Somebody's own sign-ins do not give an address its tries back.
        if n % 8 == 0 {
            sign_in(&services, "ada", PASSWORD, address).await.unwrap();
        }
        refusal(sign_in(&services, &format!("user{n}"), "wrong", address).await);
    }
    let wait = throttled(sign_in(&services, "ada", PASSWORD, address).await);
    assert_eq!(wait, Duration::from_secs(1));
    let elsewhere = Some("192.0.2.8".parse().unwrap());
    sign_in(&services, "ada", PASSWORD, elsewhere)
        .await
        .unwrap();
    place.clock.advance(wait);
    sign_in(&services, "ada", PASSWORD, address).await.unwrap();
    // That one succeeded: the address is where it was.
    refusal(sign_in(&services, "user20", "wrong", address).await);
    let wait = throttled(sign_in(&services, "user21", "wrong", address).await);
    assert_eq!(wait, Duration::from_secs(2));
}

async fn many_tries_at_once_are_no_more_than_many_in_a_row(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let before = services.passwords.computed();
    let tries = (0..30).map(|_| sign_in(&services, "ada", "wrong", None));
    let answers = join_all(tries).await;
    let waiting = answers
        .iter()
        .filter(|answer| matches!(answer, Err(ServiceError::Throttled(_))));
    assert_eq!(waiting.count(), 25);
    assert_eq!(services.passwords.computed() - before, 5);
}
