//! Who and what every sequence is about. Small, so that users meet.

use std::time::Duration;

use wharfinger_entity::Credits;
use wharfinger_jobs::settings::Settings;

use crate::support::stand_in::Image;

/// What each user begins with, in micro-credits. The first two have to look after their credits: what the first one can
/// ask for may turn out to be too expensive only when it is there.
pub(crate) const USERS: [i64; 5] = [
    1_400_000,
    4_000_000,
    1_000_000_000,
    1_000_000_000,
    1_000_000_000,
];

/// The administrator among them.
pub(crate) const ADMIN: usize = 4;

/// In the place of a user: whoever has what is public.
pub(crate) const EVERYONE: usize = usize::MAX;

/// Users from here on have plenty, so that what comes of their concurrent jobs depends on nothing but the rules of sharing.
pub(crate) const RICH: usize = 2;

/// Jobs at a time of each host. On the first one jobs run one after another, so that the model knows exactly what comes.
pub(crate) const HOSTS: [u32; 2] = [1, 4];

/// The host of concurrent operations.
pub(crate) const BUSY: usize = 1;

/// Repositories and tags.
pub(crate) const TAGS: [(&str, &str); 4] = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")];

/// Unpacked and compressed bytes of each image: some are larger than their manifests let one expect, some smaller.
pub(crate) const IMAGES: [(u64, u64); 5] = [
    (400_000, 100_000),
    (900_000, 600_000),
    (1_500_000, 200_000),
    (2_600_000, 2_600_000),
    (6_000_000, 3_000_000),
];

/// The name that the operator of an engine gives to images.
pub(crate) const OPERATORS_NAME: &str = "operator/keep";

/// What a pull needs, in micro-credits.
pub(crate) const MINIMUM: i64 = 1_000_000;

/// Attempts of one acceptance.
pub(crate) const ATTEMPTS: u16 = 3;

/// Unfinished jobs of one user.
pub(crate) const LIVE_JOBS: u16 = 4;

/// Pulls of one user in an hour.
pub(crate) const PULLS_AN_HOUR: u16 = 9;

/// An image of the scene.
pub(crate) fn image(number: usize) -> Image {
    let (size, compressed) = IMAGES[number];
    Image::new(&format!("image {number}"), size, compressed)
}

/// Nothing happens by itself: time stands still unless a sequence moves it, and failures are tried again at once.
pub(crate) fn settings(concurrency: u32) -> Settings {
    let (never, day) = (
        Duration::from_hours(24 * 365 * 50),
        Duration::from_hours(24),
    );
    let mut settings = crate::support::settings();
    settings.credits.initial = Credits::ZERO;
    settings.credits.minimum_to_pull = Credits::from_micro(MINIMUM);
    settings.retry.max_attempts = ATTEMPTS.into();
    settings.retry.base_delay = Duration::ZERO;
    settings.retry.max_delay = Duration::ZERO;
    settings.retry.rate_limit_patience = Duration::ZERO;
    settings.worker.lease = day;
    settings.worker.concurrency = concurrency;
    settings.worker.stall_timeout = Duration::from_mins(1);
    settings.worker.pull_timeout = Duration::from_mins(2);
    settings.worker.grace = Duration::from_mins(1);
    settings.host.offline_after = never;
    settings.host.lost_after = never;
    settings.reconcile.interval = never;
    settings.limits.live_jobs_per_user = LIVE_JOBS.into();
    settings.limits.pulls_per_hour_per_user = PULLS_AN_HOUR.into();
    settings.sessions.lifetime = day;
    settings
}
