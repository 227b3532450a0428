//! A Docker host.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use wharfinger_entity::host;
use wharfinger_jobs::hosts::is_online;

use super::rows::Row;
use super::size::List;
use crate::graphql::context::{load, services};
use crate::graphql::ids::Kind;
use crate::graphql::loaders::{LiveJobs, LiveJobsOf};
use crate::graphql::scalars::{ByteSize, DateTime, int};

/// A Docker host of the fleet.
#[derive(Clone)]
pub(crate) struct Host(Arc<host::Model>);

impl From<host::Model> for Host {
    fn from(host: host::Model) -> Self {
        Self(Arc::new(host))
    }
}

impl From<Arc<host::Model>> for Host {
    fn from(host: Arc<host::Model>) -> Self {
        Self(host)
    }
}

/// A label of a host.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct HostLabel {
    /// The name of the label.
    name: String,
    /// The value of the label.
    value: String,
}

impl Row for Host {
    const WAITING: &'static [&'static str] = &["runningJobs", "queuedJobs"];
}

/// A Docker host of the fleet.
#[Object]
impl Host {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::Host.id(self.0.id)
    }

    /// Its name, unique in the fleet.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether a worker there reported lately that the engine answers.
    async fn online(&self, ctx: &Context<'_>) -> bool {
        is_online(services(ctx), &self.0)
    }

    /// Whether new jobs are placed there.
    async fn schedulable(&self) -> bool {
        self.0.schedulable
    }

    /// Version of its Docker engine; null until it was reported.
    async fn engine_version(&self) -> Option<&str> {
        self.0.engine_version.as_deref()
    }

    /// Operating system and architecture of its engine: linux/amd64. Null until it was reported.
    async fn platform(&self) -> Option<&str> {
        self.0.platform.as_deref()
    }

    /// The labels that its operator set, by name.
    async fn labels(&self) -> List<HostLabel> {
        let Some(labels) = self.0.labels.as_object() else {
            return List(Vec::new());
        };
        let text = |value: &serde_json::Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| HostLabel {
                name: name.clone(),
                value: text(value),
            })
            .collect();
        // Databases store the members of an object in any order.
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        List(labels)
    }

    /// When a worker there last reported that the engine answers; null until one did.
    async fn last_seen_at(&self) -> Option<DateTime> {
        self.0.last_seen_at.map(DateTime::from)
    }

    /// Bytes used of the file system that keeps the engine's images; null where the worker cannot see it.
    async fn storage_used(&self) -> Option<ByteSize> {
        self.0.storage_used.map(ByteSize::from)
    }

    /// Bytes of the file system that keeps the engine's images; null where the worker cannot see it.
    async fn storage_total(&self) -> Option<ByteSize> {
        self.0.storage_total.map(ByteSize::from)
    }

    /// Jobs of all users that its workers run now.
    async fn running_jobs(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(int(self.live_jobs(ctx).await?.running))
    }

    /// Jobs of all users that wait there, for their first attempt or another.
    async fn queued_jobs(&self, ctx: &Context<'_>) -> Result<i32> {
        Ok(int(self.live_jobs(ctx).await?.queued))
    }
}

impl Host {
    async fn live_jobs(&self, ctx: &Context<'_>) -> Result<LiveJobs> {
        let jobs = load(ctx, Some(LiveJobsOf(self.0.id))).await?;
        Ok(jobs.unwrap_or_default())
    }
}
