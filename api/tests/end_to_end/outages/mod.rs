//! Full disks and connections that fall silent: what was acknowledged is kept, and work goes on by itself afterwards.

mod database_disk;
mod engine_disk;
mod log_disk;
mod redis_writes;
mod scene;
mod silent_database;
mod silent_redis;
