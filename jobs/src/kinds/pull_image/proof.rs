//! Before the engine is asked, and after: that the caller may have every layer and the config that the engine has already
//! (`api/docs/adr/0032-who-gets-what-is-there.md`).

use std::collections::{HashMap, HashSet};

use tracing::Instrument as _;
use wharfinger_entity::{ImageReference, JobErrorCode, Timestamp};

use super::fetching::{fetch, withheld};
use super::resolve::{Resolved, login_of, mismatch};
use crate::attempt::JobRun;
use crate::attempt::transfers::Brought;
use crate::engine::{EngineImage, ImageStore, same_reference};
use crate::engine_images::blob_origins::{
    Origins, Part, Source, Standing, announce, announced_since, deliver, find, is_contested,
};
use crate::engine_images::error::RunError;
use crate::error::JobFailure;
use crate::infra::trace;
use crate::progress::PullSnapshot;
use crate::registry::{Login, short_id};

/// The blobs of an image that are proved, and those that the engine has to fetch.
pub(super) struct Proof {
    source: Source,
    /// Announcements of other pulls count from this time on.
    since: Timestamp,
    store: ImageStore,
    /// Digests of the layers, from the bottom up.
    layers: Vec<String>,
    /// Digests that the engine has to fetch.
    watched: HashSet<String>,
    /// Digests that the registry has delivered to the worker.
    fetched: HashSet<String>,
    /// Digests of the uncompressed layers that the worker fetched, by the layers' digests.
    diff_ids: HashMap<String, String>,
    /// Digests of uncompressed layers as other pulls recorded them. A wrong one must not make this pull fail.
    said: HashMap<String, HashSet<String>>,
}

impl Proof {
    /// Proves what the engine has, or may have, and writes down what it is about to fetch. `brought` is whether Wharfinger
    /// brought the image that it `had`, or is about to.
    pub(super) async fn begin(
        run: &JobRun,
        reference: &ImageReference,
        resolved: &Resolved,
        had: Option<&EngineImage>,
        brought: bool,
    ) -> Result<Self, RunError> {
        let (services, manifest) = (&run.context.services, &resolved.manifest);
        let parts = resolved.parts(had)?;
        let digests: Vec<_> = parts.iter().map(|part| part.digest.clone()).collect();
        let source = resolved.source(reference);
        let timeout = services.settings.worker.pull_timeout;
        let since = announced_since(services.clock.now(), timeout);
        let db = services.db.read();
        let found = Box::pin(find(db, run.host_id, &source, &digests, since)).await?;
        let here = [&manifest.digest, &manifest.platform_digest]
            .map(|digest| format!("{}@{digest}", reference.name()));
        let had_from_here = had.into_iter().flat_map(|image| &image.repo_digests);
        let had_from_here = had_from_here
            .into_iter()
            .any(|name| here.iter().any(|here| same_reference(name, here)));
        // A pull of ours that failed may have left the name.
        let had_from_here = had_from_here && !brought;
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
            to_fetch.extend(withheld(run, &proof.source, ask, login.as_ref()).await?);
            Box::pin(proof.fetch(run, resolved, login.as_ref(), &to_fetch)).await?;
        }
        let watched: Vec<_> = watch.into_iter().map(|part| part.digest).collect();
        if watched.is_empty() {
            return Ok(proof);
        }
        let (db, now) = (services.db.write(), services.clock.now());
        announce(db, run.host_id, &proof.source, &watched, now).await?;
        proof.watched.extend(watched);
        Ok(proof)
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

    /// Proves the blobs that the engine was to fetch and did not, because it had them. Returns what the engine had. After
    /// [`WasThere::Image`] nothing was proved: the caller begins the proof again.
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
        let parts: Vec<_> = resolved
            .parts(None)?
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

    /// Checks that the engine's image is the one that was proved, records what the pull's source has delivered, and returns the
    /// image. None if another repository had to do with what only the engine fetched: then it may have come from there.
    pub(super) async fn record(
        &mut self,
        run: &JobRun,
        reference: &ImageReference,
        resolved: &Resolved,
    ) -> Result<Option<EngineImage>, RunError> {
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
            let mut parts = resolved.parts(None)?;
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
            return Ok(Some(image));
        }
        // Another repository that had to do with it has announced that before the engine was asked for it.
        if is_contested(services.db.read(), host_id, source, &watched, self.since).await? {
            return Ok(None);
        }
        // What is forgotten in a crash of the database is proved anew.
        let (db, now) = (services.db.relaxed(), services.clock.now());
        deliver(db, host_id, source, &delivered, now).await?;
        Ok(Some(image))
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

/// Blobs that the engine had already when it was to fetch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WasThere {
    /// None.
    Nothing,
    /// Some layers, which are proved now.
    Layers,
    /// The whole image.
    Image,
}
