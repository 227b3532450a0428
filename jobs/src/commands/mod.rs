//! Mutations of jobs, queues, hosts and images that are no jobs themselves: one file for each.

pub mod cancel_job;
pub mod discard_job;
pub mod retry_dead_jobs;
pub mod retry_job;
pub mod set_host_schedulable;
pub mod set_image_visibility;
pub mod set_queue_paused;
