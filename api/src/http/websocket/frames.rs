//! Limits the frames that one socket may send. Those that begin operations are not among them: the authenticator counts them.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::http::response::error::{ErrorCode, Refusal};

/// A socket may send as many frames at once as its rate allows in this time.
const WINDOW: Duration = Duration::from_secs(2);

/// A token bucket: the time at which it will be full again.
pub(crate) struct Frames {
    rate: Option<NonZeroU32>,
    full_at: Instant,
}

impl Frames {
    /// Allows `per_second` frames a second; 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            rate: NonZeroU32::new(per_second),
            full_at: Instant::now(),
        }
    }

    /// Counts a frame. Fails with `RATE_LIMITED` where there were too many.
    pub(crate) fn count(&mut self) -> Result<(), Refusal> {
        self.count_at(Instant::now())
    }

    fn count_at(&mut self, now: Instant) -> Result<(), Refusal> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / rate.get();
        if full_at - now > WINDOW {
            let message = format!("more than {rate} frames a second (limits.requests_per_second)");
            return Err(Refusal::new(ErrorCode::RateLimited, message));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_of_frames_may_come_at_once() {
        let mut frames = Frames::new(5);
        let now = Instant::now();
        let let_in =
            |frames: &mut Frames, at| (0..100).take_while(|_| frames.count_at(at).is_ok()).count();
        assert_eq!(let_in(&mut frames, now), 10);
        let later = now + Duration::from_secs(1);
        assert_eq!(let_in(&mut frames, later), 5);
        let refusal = frames.count_at(later).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert_eq!(let_in(&mut Frames::new(0), now), 100);
    }
}
