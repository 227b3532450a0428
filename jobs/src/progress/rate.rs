//! A rate for eyes: that of the last seconds, without the jumps of the moment.

use std::time::{Duration, Instant};

/// A measurement counts for half as much after about two seconds.
const MEMORY: f64 = 3.0;

/// Rates are measured over at least this long: events come in bursts.
const STEP: Duration = Duration::from_millis(250);

/// An exponentially weighted mean of the rates of steps, by the time that each took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    mark: Option<(Instant, u64)>,
    mean: f64,
    weight: f64,
}

impl Rate {
    /// So many bytes have arrived by now. The first call starts the clock.
    #[expect(clippy::cast_precision_loss, reason = "a rate for eyes")]
    pub(super) fn note(&mut self, bytes: u64, now: Instant) {
        let Some((since, before)) = self.mark else {
            self.mark = Some((now, bytes));
            return;
        };
        let passed = now.saturating_duration_since(since);
        if passed < STEP {
            return;
        }
        let seconds = passed.as_secs_f64();
        let measured = bytes.saturating_sub(before) as f64 / seconds;
        let share = 1.0 - (-seconds / MEMORY).exp();
        // The weight makes the first measurements count whole instead of pulling the mean towards zero.
        self.weight += share * (1.0 - self.weight);
        self.mean += share / self.weight * (measured - self.mean);
        self.mark = Some((now, bytes));
    }

    /// Bytes a second; none before the first measurement. Falls while nothing arrives.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and saturating"
    )]
    pub(super) fn per_second(mut self, bytes: u64, now: Instant) -> Option<u64> {
        self.note(bytes, now);
        (self.weight > 0.0).then_some(self.mean as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_even_stream_has_its_rate_from_the_first_measurement() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(0, start), None);
        for tick in 0..50 {
            rate.note(tick * 100_000, at(start, tick * 100));
            if tick > 3 {
                let measured = rate
                    .per_second(tick * 100_000, at(start, tick * 100))
                    .unwrap();
                assert!((999_000..=1_001_000).contains(&measured), "{measured}");
            }
        }
    }

    #[test]
    fn it_falls_when_nothing_arrives_and_bursts_do_not_jump() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.note(0, start);
        rate.note(1_000_000, at(start, 1000));
        assert_eq!(rate.per_second(1_000_000, at(start, 1000)), Some(1_000_000));
        // A burst within the step counts when the step is over.
        assert_eq!(rate.per_second(9_000_000, at(start, 1001)), Some(1_000_000));
        let later = rate.per_second(1_000_000, at(start, 4000)).unwrap();
        assert!(later < 500_000, "{later}");
        assert!(rate.per_second(1_000_000, at(start, 60_000)).unwrap() < 10);
    }
}
