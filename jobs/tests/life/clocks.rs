//! Clocks that do not agree.

use std::time::Duration;

use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::maintenance::clock_skew::measure;

use crate::support::bare::{Bare, LATER};
use crate::support::{Shape, on_every_shape};

on_every_shape!(a_clock_that_is_wrong_is_found_out);

async fn a_clock_that_is_wrong_is_found_out(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (db, right) = (&bare.services.db, Clock::system());
    let lease = Duration::from_secs(15);

    // The servers of the tests are on this machine.
    let skew = measure(db, &right).await.unwrap();
    assert!(!skew.endangers(lease), "{skew:?}");
    assert!(skew.at_least() < Duration::from_millis(100), "{skew:?}");

    let hour = 3_600_000_000;
    for (wrong, expected) in [
        (right.now().after(LATER), -hour),
        (right.now().before(LATER), hour),
    ] {
        let skew = measure(db, &Clock::manual(wrong)).await.unwrap();
        assert!(skew.endangers(lease), "{skew:?}");
        let off = skew.micros - expected;
        assert!((0..10_000_000).contains(&(off + 1_000_000)), "{skew:?}");
    }
}
