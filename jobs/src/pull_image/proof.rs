//! Before the engine is asked, and after: that the caller may have every layer and the config that the engine has already
//! (`api/docs/adr/0032-who-gets-what-is-there.md`).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::Instrument as _;
use wharfinger_entity::{ImageReference, JobErrorCode, Timestamp};

use super::fetching::fetch;
use super::record::Presence;
use super::resolve::{Resolved, login_of, mismatch, registry_failure};
use crate::attempt::JobRun;
use crate::attempt::transfers::Brought;
use crate::engine::{EngineImage, ImageStore, same_reference};
use crate::engine_images::blob_origins::{
    Origins, Part, Source, Standing, announce, announced_since, deliver, find, is_contested,
};
use crate::engine_images::error::RunError;
use crate::error::{JobFailure, ServiceError};
use crate::infra::db::in_transaction;
use crate::infra::trace;
use crate::progress::PullSnapshot;
use crate::registry::{Login, short_id};

/// Blobs that a registry is asked for at a time.
const AT_A_TIME: usize = 8;

/// What is proved of an image, and what is left to the engine.
pub(super) struct Proof {
    source: Source,
    /// From when on announcements of others count.
    since: Timestamp,
    store: ImageStore,
    /// Digests of the layers, from the bottom up.
    layers: Vec<String>,
    /// Digests that the engine has to fetch.
    watched: HashSet<String>,
    /// Digests that the registry has delivered to the worker.
    fetched: HashSet<String>,
    /// What layers are uncompressed, by their digests, as the worker found when it fetched them.
    diff_ids: HashMap<String, String>,
    /// The same, as it was found in other pulls. They must not be able to hinder this one.
    said: HashMap<String, HashSet<String>>,
}

impl Proof {
    /// Proves what the engine has, or may have, and writes down what it is about to fetch.
    pub(super) async fn begin(
        run: &JobRun,
        reference: &ImageReference,
        resolved: &Resolved,
        present: Presence,
    ) -> Result<Self, RunError> {
        let (services, manifest) = (&run.context.services, &resolved.manifest);
        let had = if present.seen {
            run.context.engine.inspect(&resolved.image_id).await?
        } else {
            None
        };
        let parts = parts(resolved, had.as_ref())?;
        let digests: Vec<_> = parts.iter().map(|part| part.digest.clone()).collect();
        let source = resolved.source(reference);
        let timeout = services.settings.worker.pull_timeout;
        let since = announced_since(services.clock.now(), timeout);
        let db = services.db.read();
        let found = Box::pin(find(db, run.host_id, &source, &digests, since)).await?;
        let here = [&manifest.digest, &manifest.platform_digest]
            .map(|digest| format!("{}@{digest}", reference.name()));
        let had_from_here = had.iter().flat_map(|image| &image.repo_digests);
        let had_from_here = had_from_here
            .into_iter()
            .any(|name| here.iter().any(|here| same_reference(name, here)));
        // A pull of ours that failed may have left the name.
        let had_from_here = had_from_here && !present.brought;
        let origins = Origins::new(had_from_here, found);
        let mut proof = Self {
            since,
            store: resolved.store,
            layers: manifest
                .layers
                .iter()
                .map(|layer| layer.digest.to_string())
                .collect(),
            watched: HashSet::new(),
            fetched: HashSet::new(),
            diff_ids: HashMap::new(),
            said: HashMap::new(),
            source,
        };
        let mut by_standing: HashMap<Standing, Vec<Part>> = HashMap::new();
        for part in parts {
            let said = origins.diff_ids(&part.digest);
            proof.said.insert(part.digest.clone(), said);
            by_standing
                .entry(origins.standing(&part))
                .or_default()
                .push(part);
        }
        let mut of = |standing| by_standing.remove(&standing).unwrap_or_default();
        let (watch, ask, mut to_fetch) =
            (of(Standing::Watch), of(Standing::Ask), of(Standing::Fetch));
        if !ask.is_empty() || !to_fetch.is_empty() {
            let login = login_of(run, reference, resolved.with_login).await?;
            to_fetch.extend(proof.refused(run, ask, login.as_ref()).await?);
            Box::pin(proof.fetch(run, resolved, login.as_ref(), &to_fetch)).await?;
        }
        let watched: Vec<_> = watch.into_iter().map(|part| part.digest).collect();
        if watched.is_empty() {
            return Ok(proof);
        }
        in_transaction!(services.db, |tx| {
            let now = services.clock.now();
            announce(&tx, run.host_id, &proof.source, &watched, now).await?;
            Ok::<_, ServiceError>(())
        })?;
        proof.watched.extend(watched);
        Ok(proof)
    }

    /// Asks the registry that these came from. Returns those that it does not give.
    async fn refused(
        &self,
        run: &JobRun,
        ask: Vec<Part>,
        login: Option<&Login>,
    ) -> Result<Vec<Part>, JobFailure> {
        let Source {
            registry,
            repository,
            ..
        } = &self.source;
        let client = &run.context.registry;
        let asked = stream::iter(ask.into_iter().map(|part| async move {
            let gives = client.gives(registry, repository, &part.digest, login);
            let gives = gives.await.map_err(|error| registry_failure(&error))?;
            Ok((!gives).then_some(part))
        }));
        let refused = asked
            .buffer_unordered(AT_A_TIME)
            .try_filter_map(async |part| Ok(part));
        refused.try_collect().instrument(trace::phase("ask")).await
    }

    /// Lets the registry deliver these to the worker, whole.
    async fn fetch(
        &mut self,
        run: &JobRun,
        resolved: &Resolved,
        login: Option<&Login>,
        parts: &[Part],
    ) -> Result<(), RunError> {
        let delivered = fetch(run, resolved, &self.source, login, parts, &self.fetched);
        for (digest, diff_id) in delivered.instrument(trace::phase("fetch")).await? {
            self.fetched.insert(digest.clone());
            self.watched.remove(&digest);
            if let Some(diff_id) = diff_id {
                self.diff_ids.insert(digest, diff_id);
            }
        }
        Ok(())
    }

    /// Short ids of the layers that the engine has to fetch.
    pub(super) fn watched_ids(&self) -> HashSet<String> {
        self.watched
            .iter()
            .map(|digest| short_id(digest).to_owned())
            .collect()
    }

    /// What a transfer did not fetch of what it had to, and the engine has all the same: proves it. Says whether the image
    /// was there, so that all has to be proved anew.
    pub(super) async fn complete(
        &mut self,
        run: &JobRun,
        reference: &ImageReference,
        resolved: &Resolved,
        brought: &Brought,
    ) -> Result<WasThere, RunError> {
        let mut layers = self.layers.iter();
        let silent = brought.whole && !layers.any(|layer| brought.mentions(short_id(layer)));
        if silent && !self.watched.is_empty() {
            return Ok(WasThere::Image);
        }
        // The containerd store unpacks no layer whose content it has unpacked for another.
        let graph = self.store != ImageStore::Containerd;
        let came = |layer: &String| {
            let id = short_id(layer);
            let unpacked = graph && brought.unpacked.contains(id);
            brought.fetched.contains(id) || unpacked
        };
        let missing: HashSet<_> = if brought.whole {
            let layers = self.layers.iter().filter(|layer| !came(layer));
            layers.cloned().collect()
        } else {
            let existed = |layer: &&String| brought.existed.contains(short_id(layer));
            self.layers.iter().filter(existed).cloned().collect()
        };
        let parts: Vec<_> = parts(resolved, None)?
            .into_iter()
            .filter(|part| self.watched.contains(&part.digest) && missing.contains(&part.digest))
            .collect();
        if !parts.is_empty() {
            let login = login_of(run, reference, resolved.with_login).await?;
            Box::pin(self.fetch(run, resolved, login.as_ref(), &parts)).await?;
        }
        if brought.whole {
            self.source.anonymous &= brought.anonymous;
        }
        Ok(if parts.is_empty() {
            WasThere::Nothing
        } else {
            WasThere::Layers
        })
    }

    /// Checks that the engine's image is the one that was proved, and records what the pull's source has delivered. False if
    /// another repository had to do with what only the engine fetched: then it may have come from there.
    pub(super) async fn record(
        &mut self,
        run: &JobRun,
        reference: &ImageReference,
        resolved: &Resolved,
    ) -> Result<bool, RunError> {
        let Some(image) = run
            .context
            .engine
            .inspect(&resolved.pinned(reference))
            .await?
        else {
            let message = "the engine pulled the image and then did not have it";
            return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
        };
        let in_doubt = self.in_doubt(&image);
        if !in_doubt.is_empty() {
            let mut parts = parts(resolved, None)?;
            parts.retain(|part| in_doubt.contains(&part.digest));
            let login = login_of(run, reference, resolved.with_login).await?;
            Box::pin(self.fetch(run, resolved, login.as_ref(), &parts)).await?;
        }
        // Of an index the engine may have chosen another image.
        let is_it = image.id == resolved.image_id && self.is_of(&image);
        if !is_it || !self.in_doubt(&image).is_empty() {
            return Err(mismatch().into());
        }
        let diff_ids: HashMap<_, _> = self.layers.iter().zip(&image.diff_ids).collect();
        let watched: Vec<_> = self.watched.iter().cloned().collect();
        let delivered: Vec<_> = watched
            .iter()
            .map(|digest| (digest.clone(), diff_ids.get(digest).map(|id| (*id).clone())))
            .collect();
        let (services, host_id, source) = (&run.context.services, run.host_id, &self.source);
        if watched.is_empty() {
            return Ok(true);
        }
        let recorded = in_transaction!(services.db, |tx| {
            let now = services.clock.now();
            if is_contested(&tx, host_id, source, &watched, self.since).await? {
                return Ok::<_, ServiceError>(false);
            }
            deliver(&tx, host_id, source, &delivered, now).await?;
            Ok(true)
        })?;
        Ok(recorded)
    }

    /// Layers of which it is not known whether they are, uncompressed, those of the image. An engine looks at that where it
    /// unpacks them. With containerd it unpacks none whose place has content already, whatever the layer is.
    fn in_doubt(&self, image: &EngineImage) -> HashSet<String> {
        let is_known = |layer: &String, diff_id: &String| {
            let said = self.said.get(layer);
            let agreed = said.is_some_and(|said| said.contains(diff_id));
            let contested = said.is_some_and(|said| said.iter().any(|said| said != diff_id));
            let unpacked = self.store != ImageStore::Containerd || self.watched.contains(layer);
            self.diff_ids.contains_key(layer) || !contested && (agreed || unpacked)
        };
        let pairs = self.layers.iter().zip(&image.diff_ids);
        pairs
            .filter(|(layer, diff_id)| !is_known(layer, diff_id))
            .map(|(layer, _)| layer.clone())
            .collect()
    }

    /// Whether the layers of an image are, uncompressed, what the worker found them to be.
    fn is_of(&self, image: &EngineImage) -> bool {
        let known = |layer| self.diff_ids.get(layer);
        let mut pairs = self.layers.iter().zip(&image.diff_ids);
        let complete = image.diff_ids.len() == self.layers.len();
        (complete || image.diff_ids.is_empty())
            && pairs.all(|(layer, diff_id)| known(layer).is_none_or(|known| known == diff_id))
    }

    /// Counts what the worker fetched as fetched.
    pub(super) fn counted(&self, snapshot: PullSnapshot) -> PullSnapshot {
        snapshot.with_fetched(&self.fetched)
    }
}

/// What a transfer found on the engine that it had to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WasThere {
    Nothing,
    /// Some layers, which are proved now.
    Layers,
    Image,
}

/// The config and the layers, each once. `had` is the image, where the engine has it.
fn parts(resolved: &Resolved, had: Option<&EngineImage>) -> Result<Vec<Part>, RunError> {
    let manifest = &resolved.manifest;
    let by_config = resolved.image_id == manifest.config_digest;
    // By its config alone the engine would take other layers for those of the image.
    let diff_ids = match had {
        // Of an image without layers there is nothing to be had but the config.
        Some(image) if by_config && !image.diff_ids.is_empty() => {
            if image.diff_ids.len() != manifest.layers.len() {
                return Err(mismatch().into());
            }
            image.diff_ids.iter().map(Some).collect()
        }
        _ => vec![None; manifest.layers.len()],
    };
    let there = had.is_some();
    let config = Part {
        digest: manifest.config_digest.to_string(),
        size: manifest.config_size,
        media_type: None,
        diff_id: None,
        // No word of this store tells of a config.
        may_be_there: there || resolved.store == ImageStore::Containerd,
    };
    let layers = manifest
        .layers
        .iter()
        .zip(diff_ids)
        .map(|(layer, diff_id)| Part {
            digest: layer.digest.to_string(),
            size: layer.size,
            media_type: Some(layer.media_type.to_string()),
            diff_id: diff_id.cloned(),
            may_be_there: there,
        });
    let mut seen = HashSet::new();
    let parts = std::iter::once(config).chain(layers);
    Ok(parts
        .filter(|part| seen.insert(part.digest.clone()))
        .collect())
}
