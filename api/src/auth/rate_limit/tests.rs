//! Whose bucket a request counts for.

use super::*;

/// Limits of two sockets that have not authenticated.
fn limits(per_second: u32) -> RateLimits {
    RateLimits::new(per_second, 2)
}

fn address(text: &str) -> ClientAddress {
    ClientAddress(text.parse().unwrap())
}

/// Returns how many requests are admitted before the first is refused. Pending charges are dropped.
fn let_in(limits: &RateLimits, token: Option<&str>, from: &str) -> usize {
    (0..1000)
        .find(|_| limits.count(token, Some(address(from))).is_err())
        .unwrap()
}

#[test]
fn a_user_has_one_bucket_for_all_addresses() {
    let limits = limits(1);
    let user = Uuid::from_u128(1);
    limits.note("first", Some(user));
    limits.note("second", Some(user));
    assert_eq!(let_in(&limits, Some("first"), "192.0.2.1"), 2);
    assert_eq!(let_in(&limits, Some("second"), "192.0.2.9"), 0);
    let other = Uuid::from_u128(2);
    limits.note("other", Some(other));
    assert_eq!(let_in(&limits, Some("other"), "192.0.2.1"), 2);
}

#[test]
fn an_invalid_token_counts_for_its_address_and_for_no_user() {
    let limits = limits(1);
    let user = Uuid::from_u128(1);
    limits.note("revoked", Some(user));
    limits.note("good", Some(user));
    limits.note("revoked", None);
    assert_eq!(let_in(&limits, Some("revoked"), "192.0.2.1"), 2);
    assert_eq!(let_in(&limits, None, "192.0.2.1"), 0);
    assert_eq!(let_in(&limits, Some("good"), "192.0.2.1"), 2);
}

#[test]
fn good_tokens_cost_their_address_nothing() {
    let limits = limits(1);
    let from = Some(address("192.0.2.1"));
    let waiting: Vec<_> = (0..MOST_PENDING)
        .map(|number| limits.count(Some(&number.to_string()), from).unwrap())
        .collect();
    let refusal = limits.count(Some("one more"), from).err().unwrap();
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    for (number, counted) in (0..).zip(waiting) {
        let user = Uuid::from_u128(number);
        let pending = counted.pending.unwrap();
        pending.charge_user(user).unwrap();
        pending.charge_user(user).unwrap();
        limits.note(&number.to_string(), Some(user));
    }
    let admitted = let_in(&limits, Some("7"), "192.0.2.1");
    assert_eq!(admitted, 1, "one was counted");
    assert_eq!(let_in(&limits, None, "192.0.2.1"), 2);
}

#[test]
fn many_bad_tokens_at_once_are_owed_by_their_address() {
    let limits = limits(1);
    let from = Some(address("192.0.2.1"));
    let waiting: Vec<_> = (0..100)
        .map(|number| limits.count(Some(&number.to_string()), from).unwrap())
        .collect();
    drop(waiting);
    for token in [None, Some("new")] {
        let refusal = limits.count(token, from).err().unwrap();
        let wait = refusal.retry_after.unwrap();
        let few = Duration::from_secs(3)..=Duration::from_secs(4);
        assert!(few.contains(&wait), "{wait:?}");
    }
    assert!(lock(&limits.counts.as_ref().unwrap().pending.taken).is_empty());
}

#[test]
fn a_socket_costs_its_address_one_request_until_it_authenticates() {
    let limits = limits(1);
    let from = Some(address("192.0.2.1"));
    let open = || limits.count_address(from);
    assert!(open().unwrap().is_some());
    assert!(open().unwrap().is_some());
    assert_eq!(open().unwrap_err().code, ErrorCode::RateLimited);
    limits.refund(from);
    assert!(open().is_ok());
    assert!(open().is_err(), "one was given back");
    let none = RateLimits::new(0, 2);
    assert!(none.count_address(from).unwrap().is_none());
}

#[test]
fn a_dropped_socket_makes_room_for_another_of_its_address() {
    let limits = limits(0);
    let enter = |from| limits.count_unidentified(Some(address(from)));
    let first = enter("2001:db8::1").unwrap();
    let second = enter("2001:db8::ffff:0:0:1").unwrap();
    let refusal = enter("2001:db8::2").err().unwrap();
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    let other = enter("2001:db8:0:1::1").unwrap();
    drop(first);
    let third = enter("2001:db8::2").unwrap();
    assert!(enter("2001:db8::3").is_err());
    drop((second, third, other));
    assert!(lock(&limits.unidentified.taken).is_empty());
}

#[test]
fn a_new_token_counts_for_its_user_once_it_was_looked_up() {
    let limits = limits(1);
    let user = Uuid::from_u128(1);
    let found = |token: &str| {
        let counted = limits.count(Some(token), Some(address("192.0.2.1")));
        counted.unwrap().pending.unwrap().charge_user(user)
    };
    assert!(found("first").is_ok());
    assert!(found("second").is_ok());
    assert_eq!(found("third").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn half_an_address_of_ipv6_is_one_client() {
    let limits = limits(1);
    assert_eq!(let_in(&limits, None, "2001:db8::1"), 2);
    assert_eq!(let_in(&limits, None, "2001:db8::ffff:0:0:1"), 0);
    assert_eq!(let_in(&limits, None, "2001:db8:0:1::1"), 2);
    assert_eq!(let_in(&limits, None, "192.0.2.1"), 2);
    assert_eq!(let_in(&limits, None, "192.0.2.2"), 2);
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let limits = limits(0);
    for token in [None, Some("token")] {
        for _ in 0..=MOST_PENDING {
            let counted = limits.count(token, Some(address("192.0.2.1")));
            let counted = counted.unwrap();
            assert!(counted.quota.is_none() && counted.pending.is_none());
        }
    }
}

#[test]
fn an_invalid_cookie_counts_as_an_anonymous_request() {
    let limits = limits(1);
    let from = Some(address("192.0.2.1"));
    let waiting: Vec<_> = (0..10)
        .map(|number| limits.count(Some(&number.to_string()), from).unwrap())
        .collect();
    let let_in = waiting.into_iter().filter(|counted| {
        let pending = counted.pending.as_ref().unwrap();
        pending.charge_address().is_ok()
    });
    assert_eq!(let_in.count(), 2);
}

#[test]
fn the_user_of_a_token_is_remembered_for_a_minute() {
    let limits = limits(1);
    let user = Uuid::from_u128(1);
    limits.note("token", Some(user));
    let now = Instant::now();
    assert_eq!(limits.known_at("token", now), Some(user));
    assert_eq!(limits.known_at("token", now + KNOWN_FOR), None);
}
