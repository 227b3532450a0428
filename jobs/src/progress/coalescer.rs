//! At most ten states of a pull a second are sent: more cannot be seen.

use std::time::{Duration, Instant};

/// Least time between two states.
const PERIOD: Duration = Duration::from_millis(100);

/// Says when the next state may be told: the first at once, and none sooner than a tenth of a second after another.
///
/// A caller with a newer state waits for [`wait`](Self::wait) and sends the newest then, so the last state
/// is always sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coalescer {
    last: Option<Instant>,
}

impl Coalescer {
    /// How long to wait from `now`; zero when the next state may be told at once.
    pub fn wait(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| {
            PERIOD.saturating_sub(now.saturating_duration_since(last))
        })
    }

    /// Notes that a state was told.
    pub fn emitted(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays changes at these times, in milliseconds. Returns when states were sent, in milliseconds, and the index of the
    /// change that each one shows.
    fn tell(changes: &[u64]) -> Vec<(u64, usize)> {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut coalescer = Coalescer::default();
        let mut told = Vec::new();
        let mut due: Option<u64> = None;
        for (number, millis) in changes.iter().copied().enumerate() {
            if let Some(then) = due.filter(|then| *then <= millis) {
                assert_eq!(coalescer.wait(at(then)), Duration::ZERO);
                coalescer.emitted(at(then));
                told.push((then, number - 1));
                due = None;
            }
            let wait = coalescer.wait(at(millis));
            if wait.is_zero() {
                coalescer.emitted(at(millis));
                told.push((millis, number));
            } else {
                due = Some(millis + u64::try_from(wait.as_millis()).unwrap());
            }
        }
        told.extend(due.map(|then| (then, changes.len() - 1)));
        told
    }

    #[test]
    fn a_change_each_millisecond_is_told_ten_times_a_second() {
        let changes: Vec<u64> = (0..1000).collect();
        let told = tell(&changes);
        assert_eq!(told[0], (0, 0));
        assert_eq!(told.iter().filter(|(at, _)| *at < 1000).count(), 10);
        assert_eq!(told.last(), Some(&(1000, 999)));
    }

    proptest! {
        #[test]
        fn first_at_once_last_always_and_never_too_often(gaps in proptest::collection::vec(0u64..400, 1..200)) {
            let changes: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let told = tell(&changes);
            prop_assert_eq!(told[0], (changes[0], 0));
            prop_assert_eq!(told.last().unwrap().1, changes.len() - 1);
            for pair in told.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= 100);
                prop_assert!(pair[1].1 > pair[0].1);
            }
        }
    }
}
