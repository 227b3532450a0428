//! `sweep.schedule`: when the clean-up is due.

use std::str::FromStr;

use apalis_cron::{Schedule as Ticks, Tick, timezone};
use chrono::{DateTime, SubsecRound as _, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use wharfinger_entity::Timestamp;

use crate::infra::clock::Clock;

/// The text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

/// Five fields of cron, in UTC, so that gateways in different time zones mean the same instants.
#[derive(Clone, Debug)]
pub struct SweepSchedule {
    text: String,
    cron: Cron,
}

impl FromStr for SweepSchedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser
            .parse(text)
            .map_err(|error| ScheduleError(error.to_string()))?;
        let schedule = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            cron,
        };
        // The thirtieth of February can be written and never comes.
        if schedule.next(Timestamp::from_micros(0)).is_none() {
            return Err(ScheduleError("it never comes".into()));
        }
        Ok(schedule)
    }
}

impl SweepSchedule {
    /// As it is written in the settings.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The newest instant of the schedule that is not after `now`.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&second(now), true);
        found.ok().map(Timestamp::from)
    }

    /// The next instant after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&second(now), false);
        found.ok().map(Timestamp::from)
    }
}

/// The whole second that an instant is in: croner would carry its fraction over into what it finds.
fn second(at: Timestamp) -> DateTime<Utc> {
    DateTime::<Utc>::from(at).trunc_subsecs(0)
}

/// The schedule as apalis-cron asks for it, by a clock of its own.
#[derive(Clone, Debug)]
pub(super) struct ByClock {
    pub(super) schedule: SweepSchedule,
    pub(super) clock: Clock,
}

impl Ticks<timezone::Utc> for ByClock {
    fn next_tick(&mut self, _: &timezone::Utc) -> Option<Tick> {
        let next = self.schedule.next(self.clock.now())?;
        u64::try_from(next.micros() / 1_000_000).ok().map(Tick::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    #[test]
    fn instants_are_those_of_cron() {
        for (schedule, now, latest) in [
            // The old system's.
            (
                "30 23 * * *",
                "2026-11-24T12:00:00Z",
                "2026-11-23T23:30:00Z",
            ),
            (
                "30 23 * * *",
                "2026-11-24T23:30:00Z",
                "2026-11-24T23:30:00Z",
            ),
            (
                "30 23 * * *",
                "2026-11-24T23:29:59.999Z",
                "2026-11-23T23:30:00Z",
            ),
            // 0 and 7 are Sunday, and 1 is Monday: not so in every crate.
            ("0 3 * * 0", "2026-11-24T12:00:00Z", "2026-11-22T03:00:00Z"),
            ("0 3 * * 7", "2026-11-24T12:00:00Z", "2026-11-22T03:00:00Z"),
            (
                "0 3 * * SUN",
                "2026-11-24T12:00:00Z",
                "2026-11-22T03:00:00Z",
            ),
            // A day of the month or a day of the week, as cron has it where both are given.
            ("0 3 24 * 1", "2026-11-24T12:00:00Z", "2026-11-24T03:00:00Z"),
            ("0 3 24 * 1", "2026-11-23T12:00:00Z", "2026-11-23T03:00:00Z"),
        ] {
            let parsed: SweepSchedule = schedule.parse().unwrap();
            let found = parsed.latest(instant(now));
            assert_eq!(found, Some(instant(latest)), "{schedule} {now}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "every night",
            "30 23 * *",
            "0 30 23 * * *",
            "60 23 * * *",
            "0 0 30 2 *",
        ] {
            assert!(text.parse::<SweepSchedule>().is_err(), "{text}");
        }
    }
}
