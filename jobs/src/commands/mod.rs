//! What users and administrators do with jobs, queues, hosts and images: one file for each mutation that is no job itself.

pub mod cancel_job;
pub mod discard_job;
pub mod retry_dead_jobs;
pub mod retry_job;
pub mod set_host_schedulable;
pub mod set_image_visibility;
pub mod set_queue_paused;
