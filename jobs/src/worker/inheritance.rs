//! A worker that starts frees the leases and locks of workers of its machine that are gone, rather than let them run out.

use std::path::Path;

use super::Worker;
use super::presence::{self, Departed, Presence};
use crate::engine_images::lock;
use crate::error::ServiceError;
use crate::maintenance::vanished_workers;

impl Worker {
    /// Frees the leases of those workers that used this data directory and whose processes are gone, and tells of this one
    /// there. Without it, leases run out by themselves: so nothing here stops a worker from starting.
    #[must_use]
    pub async fn succeeding(mut self, data_dir: &Path) -> Self {
        match presence::departed(data_dir) {
            Ok(departed) => {
                for gone in departed {
                    self.inherit(gone).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for workers that are gone: their leases run out by themselves");
            }
        }
        match Presence::announce(data_dir, &self.context.worker) {
            Ok(presence) => self.presence = Some(presence),
            Err(error) => {
                tracing::warn!(%error, "could not tell of this worker in the data directory: if it is killed, its leases have to run out");
            }
        }
        self
    }

    async fn inherit(&self, gone: Departed) {
        let worker = gone.worker.clone();
        match self.free(&worker).await {
            Ok(freed) => {
                tracing::info!(worker, jobs = freed, "freed what a worker that is gone had");
                gone.forget();
            }
            Err(error) => {
                tracing::warn!(worker, %error, "could not free what a worker that is gone had: its leases run out by themselves");
            }
        }
    }

    async fn free(&self, worker: &str) -> Result<usize, ServiceError> {
        let services = &self.context.services;
        lock::free_locks_of(services, worker).await?;
        vanished_workers::free_leases_of(services, worker).await
    }
}
