//! When the database could not be used, as far as this process knows.
//!
//! A host that is silent while the database cannot be used is not gone: only its silence at other times counts.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sea_orm::sqlx;

use super::errors::{cannot_store, is_out_of_order};

/// A time without any answer that counts as an outage: every process asks once a second, for what waits for no row. So one
/// broken connection, or one slow statement, is none. A shorter time in which nothing could be stored is none either.
const GAP: Duration = Duration::from_secs(5);

/// Outages with less between them count as one, with the time between them.
const BETWEEN: Duration = Duration::from_secs(30);

/// Outages that are remembered. Beyond these, the shortest is forgotten.
const MOST: usize = 16;

/// The outages that this process noticed.
#[derive(Debug)]
pub(crate) struct Outages(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the database last answered anything.
    answered: Instant,
    /// Since when it stores nothing.
    refuses: Option<Instant>,
    past: Past,
}

/// Outages, oldest first, that do not overlap.
#[derive(Clone, Debug, Default)]
struct Past(Vec<(Instant, Instant)>);

impl Past {
    fn add(&mut self, mut from: Instant, to: Instant) {
        while let Some((began, _)) = self.0.pop_if(|(_, ended)| *ended + BETWEEN > from) {
            from = from.min(began);
        }
        self.0.push((from, to));
        if self.0.len() > MOST {
            let lengths = self.0.iter().map(|(from, to)| *to - *from);
            let shortest = lengths.enumerate().min_by_key(|(_, length)| *length);
            self.0.remove(shortest.map_or(0, |(index, _)| index));
        }
    }

    /// How much of the last `time` they were.
    fn within(&self, time: Duration, now: Instant) -> Duration {
        let ago = |at| now.saturating_duration_since(at).min(time);
        let parts = self
            .0
            .iter()
            .map(|(from, to)| ago(*from).saturating_sub(ago(*to)));
        parts.sum()
    }
}

impl Outages {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            answered: now,
            refuses: None,
            past: Past::default(),
        }))
    }

    /// Notes what an answer says; with `stored`, that it stored something where it is no error.
    pub(crate) fn heard<T>(&self, stored: bool, answer: &sqlx::Result<T>) {
        match answer {
            Err(error) if cannot_store(error) => self.failed(Instant::now()),
            // No answer: it counts where there is none for long.
            Err(error) if is_out_of_order(error) => {}
            answer => self.answered(stored && answer.is_ok(), Instant::now()),
        }
    }

    /// The database answered; with `stored`, it stored something.
    pub(crate) fn answered(&self, stored: bool, now: Instant) {
        let mut state = self.0.lock();
        let before = std::mem::replace(&mut state.answered, now);
        if now.saturating_duration_since(before) >= GAP {
            state.past.add(before, now);
        }
        if stored
            && let Some(from) = state.refuses.take()
            && now.saturating_duration_since(from) >= GAP
        {
            state.past.add(from, now);
        }
    }

    /// The database said that it stores nothing.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.0.lock();
        state.refuses.get_or_insert(now);
    }

    /// How much of the last `time` was an outage.
    pub(crate) fn within(&self, time: Duration, now: Instant) -> Duration {
        let state = self.0.lock();
        let mut all = state.past.clone();
        for from in [Some(state.answered), state.refuses].into_iter().flatten() {
            if now.saturating_duration_since(from) >= GAP {
                all.add(from, now);
            }
        }
        all.within(time, now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn at(second: u64) -> Instant {
        *BEGAN + Duration::from_secs(second)
    }

    fn within(outages: &Outages, seconds: u64, now: u64) -> Duration {
        outages.within(Duration::from_secs(seconds), at(now))
    }

    #[test]
    fn a_time_without_answers_is_an_outage_and_a_short_one_is_not() {
        let outages = Outages::new(at(0));
        outages.answered(false, at(4));
        assert_eq!(within(&outages, 100, 8), Duration::ZERO);
        assert_eq!(within(&outages, 100, 14), SECOND * 10, "not over yet");
        outages.answered(false, at(24));
        outages.answered(false, at(27));
        assert_eq!(within(&outages, 100, 30), SECOND * 20);
        assert_eq!(within(&outages, 16, 30), SECOND * 10, "the part within");
        assert_eq!(within(&outages, 3, 30), Duration::ZERO);
    }

    #[test]
    fn a_database_that_answers_and_stores_nothing_is_one_too() {
        let outages = Outages::new(at(0));
        for second in 1..=20 {
            outages.answered(false, at(second));
            outages.failed(at(second));
        }
        assert_eq!(within(&outages, 100, 20), SECOND * 19);
        outages.answered(true, at(20));
        outages.answered(true, at(23));
        assert_eq!(within(&outages, 100, 23), SECOND * 19);
    }

    #[test]
    fn one_broken_connection_is_no_outage() {
        let outages = Outages::new(at(0));
        let broken: sqlx::Result<()> = Err(super::super::errors::late());
        outages.heard(true, &broken);
        for second in 0..100 {
            outages.answered(false, at(second));
        }
        assert_eq!(within(&outages, 1000, 99), Duration::ZERO);
    }

    #[test]
    fn a_short_time_in_which_nothing_is_stored_is_no_outage() {
        let outages = Outages::new(at(0));
        outages.failed(at(0));
        assert_eq!(within(&outages, 100, 3), Duration::ZERO);
        outages.answered(true, at(3));
        assert_eq!(within(&outages, 100, 4), Duration::ZERO);
    }

    #[test]
    fn outages_close_together_are_one_and_their_number_has_a_bound() {
        let outages = Outages::new(at(0));
        for second in (0..400).step_by(8) {
            outages.failed(at(second));
            outages.answered(false, at(second + 4));
            outages.answered(true, at(second + 8));
        }
        assert_eq!(within(&outages, 1000, 400), SECOND * 400);
        let mut now = 400;
        for _ in 0..100 {
            for _ in 0..20 {
                now += 4;
                outages.answered(true, at(now));
            }
            now += 6;
            outages.answered(true, at(now));
        }
        assert_eq!(outages.0.lock().past.0.len(), MOST);
        let healthy = SECOND * 6 * u32::try_from(MOST - 1).unwrap();
        assert_eq!(
            within(&outages, 36_000, now),
            SECOND * 400 + healthy,
            "the longest ones alone"
        );
    }
}
