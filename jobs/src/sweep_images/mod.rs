//! `sweepImages` and the nightly clean-up: lets go of every private image that no container uses.
//!
//! A sweep passes through [`sweep_images`] (asked for by an administrator) or `runs` (due by the [`schedule`], once in the
//! whole fleet), and then through `holdings`: one removal for each holding, owned by its holder and settled as any other.
//! Workers tell which images are in use (`in_use`).

mod holdings;
pub(crate) mod in_use;
mod runs;
mod schedule;

pub use holdings::{SweepImages, sweep_images};
pub use runs::{Due, Schedule, due, keep};
pub use schedule::{ScheduleError, SweepSchedule};
