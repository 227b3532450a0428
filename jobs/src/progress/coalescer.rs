//! Ten times a second is enough for eyes.

use std::time::{Duration, Instant};

/// Time between two emissions at least.
const PERIOD: Duration = Duration::from_millis(100);

/// Says when the next state may be told. The first at once; none is told sooner than a tenth of a second after another.
#[derive(Debug, Default)]
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

    #[test]
    fn at_most_ten_a_second() {
        let start = Instant::now();
        let mut coalescer = Coalescer::default();
        let emitted = (0..1000)
            .map(|millis| start + Duration::from_millis(millis))
            .filter(|now| {
                let due = coalescer.wait(*now) == Duration::ZERO;
                if due {
                    coalescer.emitted(*now);
                }
                due
            })
            .count();
        assert_eq!(emitted, 10);
        assert_eq!(
            coalescer.wait(start + Duration::from_millis(950)),
            Duration::from_millis(50)
        );
    }
}
