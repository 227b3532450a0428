//! `sweepImages` and the nightly clean-up: lets go of every private image that no container uses.
//!
//! A sweep passes through `asked` (an administrator's) or `runs` (due by the [`schedule`], once in the whole fleet), and then
//! through `holdings`: one removal for each holding, owned by its holder and settled as any other. The process that keeps
//! house goes on with the rest of it.
//! Workers tell which images are in use (`in_use`).

mod asked;
mod holdings;
mod runs;
mod schedule;

pub(crate) use asked::go_on;
pub use asked::{FIRST, SweepImages, sweep_images};
pub use runs::{Due, Schedule, due, keep};
pub use schedule::{ScheduleError, SweepSchedule};
