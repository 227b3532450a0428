//! SeaORM entities and the value types they are made of.
//!
//! One file per table, named after it in the singular. Money is [`Credits`], instants are [`Timestamp`]: whole numbers in
//! the database, so that SQLite, PostgreSQL and MariaDB compare and add them alike. Ids are UUIDv7: they sort by age.
//! Uniqueness among the living (one live holding, one live payment) uses a nullable `live` column in a unique key,
//! because rows whose `live` is NULL never collide on any of the three databases.
pub mod api_token;
pub mod audit_entry;
pub mod blob_origin;
pub mod clean_text;
pub mod credits;
pub mod digest;
pub mod engine_image;
pub mod engine_tag;
pub mod enums;
mod excerpt;
pub mod exposed_ports;
pub mod host;
pub mod host_sweep;
pub mod idempotency_key;
pub mod image;
pub mod image_in_use;
pub mod job;
pub mod job_attempt;
pub mod job_retry;
pub mod lease;
pub mod ledger_entry;
pub mod paused_queue;
pub mod payment;
pub mod reference;
pub mod registry_credential;
pub mod sign_in_delay;
pub mod sweep_run;
pub mod timestamp;
pub mod user;
pub mod write_probe;

pub use clean_text::CleanText;
pub use credits::{Credits, CreditsError};
pub use digest::{Digest, DigestAlgorithm, DigestError};
pub use enums::{
    AuditAction, EngineImageStatus, ImageState, ImageVisibility, JobErrorCode, JobKind, JobState,
    LedgerEntryKind, Role, UserStatus,
};
pub use exposed_ports::{ExposedPort, ExposedPorts};
pub use reference::{ImageReference, ReferenceError};
pub use timestamp::Timestamp;
