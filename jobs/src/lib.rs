pub mod events;
pub mod queue;
mod redis_link;
