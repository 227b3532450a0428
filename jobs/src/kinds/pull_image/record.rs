//! Before the engine is asked for anything: what it has already is recorded, and the hold becomes the expected charge.

use sea_orm::{ActiveValue::Set, IntoActiveModel};
use wharfinger_entity::{Credits, EngineImageStatus, JobErrorCode, Role, engine_image, job};

use super::locked;
use super::resolve::Resolved;
use crate::attempt::JobRun;
use crate::engine::{EngineError, EngineImage};
use crate::engine_images::error::RunError;
use crate::engine_images::lock::{self, Observation};
use crate::error::{JobFailure, ServiceError};
use crate::holdings;
use crate::holdings::found::Found;
use crate::infra::db::in_transaction;
use crate::job::lease;
use crate::ledger::Account;
use crate::registry::Manifest;

/// Unpacked bytes expected of a compressed byte, as common images measure.
const UNPACKED_PER_COMPRESSED: f64 = 2.5;

/// Compressed bytes never unpack to fewer than this share of themselves.
const LEAST_UNPACKED_PER_COMPRESSED: f64 = 0.99;

/// Records what the engine has before it is asked for anything, and moves the hold to the expected charge: one
/// transaction, looked at again as long as the image's row changes in between.
pub(super) async fn record_and_hold(
    run: &JobRun,
    Resolved {
        manifest, image_id, ..
    }: &Resolved,
) -> Result<Presence, RunError> {
    let services = &run.context.services;
    let mut known = run.known.version_of(image_id);
    loop {
        let (version, recorded) = match known.take() {
            Some(version) => (version, true),
            None => (
                lock::settled_version(services, run.host_id, image_id).await?,
                false,
            ),
        };
        let (seen, image_there) = look(run, image_id, version, recorded).await?;
        let recorded = in_transaction!(services.db, |tx| {
            let now = services.clock.now();
            let image = (run.host_id, &**image_id);
            // Where there was no row, there is hardly one now.
            let locked = match version {
                0 => None,
                _ => locked::lock(&tx, services, image, version, &run.lease).await?,
            };
            let (row, fenced) = locked.unzip();
            let reference = &run.job.reference;
            let row = lock::record(&tx, services, row, image, reference, &seen).await?;
            let Some(row) = row else {
                return Ok::<_, ServiceError>(Recorded::LookAgain);
            };
            let fenced = match fenced {
                Some(fenced) => fenced,
                None => lease::fenced_with_account(&tx, &run.lease, now).await?,
            };
            let Some((job, mut account)) = fenced else {
                return Ok(Recorded::NotOurs);
            };
            let cost = expect_cost(&tx, &account, &job, &row, manifest).await?;
            let most = job.held.micro().saturating_add(account.available().micro());
            if cost.least > most {
                return Ok(Recorded::TooExpensive {
                    least: cost.least,
                    most,
                });
            }
            let mut changed = job.clone().into_active_model();
            let hold = Credits::from_micro(cost.expected.clamp(0, most));
            account.set_hold(&mut changed, job.held, hold)?;
            changed.engine_image_id = Set(Some(row.id));
            lease::save(&tx, changed).await?;
            account.save().await?;
            Ok(Recorded::Yes(Presence {
                image: image_there.clone(),
                confirmed: seen.present && row.status == EngineImageStatus::Present,
                brought: row.brought,
                version: row.version,
            }))
        })?;
        match recorded {
            Recorded::Yes(present) => {
                crate::live::notify::balance_changed(&services.events, run.job.user_id);
                return Ok(present);
            }
            Recorded::LookAgain => {}
            // The lease keeper has found out too, or is about to.
            Recorded::NotOurs => return std::future::pending().await,
            Recorded::TooExpensive { least, most } => {
                let message = format!(
                    "the image costs at least {} credits, and {} are available",
                    Credits::from_micro(least),
                    Credits::from_micro(most)
                );
                return Err(JobFailure::fail(JobErrorCode::InsufficientCredits, message).into());
            }
        }
    }
}

/// Looks at what the engine has now, and returns the image where it has it. `version` was read before, and whether the
/// reference was `recorded` for the image then.
async fn look(
    run: &JobRun,
    image_id: &str,
    version: i64,
    recorded: bool,
) -> Result<(Observation, Option<EngineImage>), EngineError> {
    let engine = &run.context.engine;
    let tagged = engine.inspect(&run.job.reference).await?;
    let tag_means = tagged.as_ref().map(|image| image.id.clone());
    // An image that has the tag is there: asking for it by its id as well would make every pull wait for the engine twice.
    let image = match tagged.filter(|image| *image.id == *image_id) {
        None => engine.inspect(image_id).await?,
        there => there,
    };
    let observation = Observation {
        version,
        present: image.is_some(),
        tag_means,
        recorded,
    };
    Ok((observation, image))
}

/// Whether the engine has the image.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    /// As the engine described it.
    pub(super) image: Option<EngineImage>,
    /// By its row, too.
    pub(super) confirmed: bool,
    /// Whether Wharfinger brought it, or is about to.
    pub(super) brought: bool,
    /// The version of its row.
    pub(super) version: i64,
}

enum Recorded {
    Yes(Presence),
    LookAgain,
    NotOurs,
    TooExpensive { least: i64, most: i64 },
}

/// In micro-credits, less what the pull gives back.
struct Cost {
    expected: i64,
    least: i64,
}

async fn expect_cost(
    tx: &crate::infra::db::Transaction,
    account: &Account<'_>,
    job: &job::Model,
    row: &engine_image::Model,
    manifest: &Manifest,
) -> Result<Cost, ServiceError> {
    let nothing = Cost {
        expected: 0,
        least: 0,
    };
    let found = Found::read(tx, row, job.user_id, &job.reference).await?;
    // What is paid for is not paid again, and what everyone may use costs nothing, or will be for everyone.
    let refreshes = account.user().role == Role::Admin && found.public_of_reference().is_some();
    if found.is_paid() || found.public_of_image().is_some() || refreshes {
        return Ok(nothing);
    }
    let gives_back = match found.own() {
        // Of another image, or it would be paid for.
        Some(old) if holdings::is_last_of(tx, old).await? => account
            .payment_for(old.engine_image_id)
            .await?
            .map_or(0, |payment| payment.amount.micro()),
        _ => 0,
    };
    let cost = |factor: f64| scaled(manifest.compressed_size, factor) - gives_back;
    Ok(Cost {
        expected: cost(UNPACKED_PER_COMPRESSED),
        least: cost(LEAST_UNPACKED_PER_COMPRESSED),
    })
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate"
)]
fn scaled(bytes: u64, factor: f64) -> i64 {
    (bytes as f64 * factor) as i64
}
