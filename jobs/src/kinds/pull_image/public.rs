//! A pull of a reference that is public on its host: done at once, without the engine or the registry, and for nothing.

use sea_orm::{ActiveValue::Set, IntoActiveModel};

use crate::attempt::{AttemptEnd, JobRun};
use crate::engine_images::error::RunError;
use crate::error::ServiceError;
use crate::holdings::{self, let_go_of_moved, publication};
use crate::infra::db::in_transaction;
use crate::job::{lease, transition};
use crate::ledger::Account;

/// Settles a pull whose reference became public after it was accepted. None where it is not public, or is to be pulled
/// anew because an administrator asks.
pub(super) async fn settle_public(run: &JobRun) -> Result<Option<AttemptEnd>, RunError> {
    let services = &run.context.services;
    let (host_id, reference) = (run.host_id, &run.job.reference);
    // Hardly ever: the claim has looked, before anything is locked for it.
    if !run.known.is_public
        || publication::is_administrator(services.db.read(), run.job.user_id).await?
    {
        return Ok(None);
    }
    let settled = in_transaction!(services.db, |tx| {
        let Some(mut job) = lease::fenced(&tx, &run.lease).await? else {
            // Another worker has the job.
            return Ok::<_, ServiceError>(Settled::NotOurs);
        };
        let mut account = Account::lock(&tx, job.user_id, services.clock.now()).await?;
        let Some(image) = publication::of_reference(&tx, host_id, reference).await? else {
            return Ok(Settled::NotPublic);
        };
        if job.cancel_requested {
            return Ok(Settled::NotPublic);
        }
        account.release(&mut job)?;
        let held = holdings::of_reference(&tx, job.user_id, host_id, reference).await?;
        if let Some(old) = held {
            let_go_of_moved(&tx, &mut account, old, &job).await?;
        }
        let mut done = job.clone().into_active_model();
        done.image_id = Set(Some(image.id));
        done.engine_image_id = Set(Some(image.engine_image_id));
        let job = transition::succeeded(&tx, &job, done, account.now()).await?;
        Ok(Settled::Done(Box::new((job, account.save().await?))))
    })?;
    match settled {
        Settled::Done(done) => {
            let (job, balance) = *done;
            services.announce(&job, Some(balance));
            Ok(Some(AttemptEnd::Settled))
        }
        Settled::NotOurs => Ok(Some(AttemptEnd::NotOurs)),
        Settled::NotPublic => Ok(None),
    }
}

enum Settled {
    Done(Box<(wharfinger_entity::job::Model, crate::ledger::Balance)>),
    NotOurs,
    NotPublic,
}
