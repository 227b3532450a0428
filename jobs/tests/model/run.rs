//! Runs a sequence on the real thing and on the model, and compares after every step.
//!
//! There is one model, or several where an order of things was left open: each that agrees with what is seen is kept, and
//! a sequence fails when none is left.

mod administration;
mod at_once;

use std::time::Duration;

use axum::http::StatusCode;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::{ImageState, job_attempt};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::commands::retry_job::retry_job;
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::pull_image::{self, PullImage};
use wharfinger_jobs::remove_image::{self, RemoveImage};

use super::operation::{Fault, Operation};
use super::rules::{Answer, Faults, Model};
use super::scene::image;
use super::seen::Seen;
use super::world::{World, operators_name};
use crate::support::invariants::check_invariants;
use crate::support::stand_in::PullFault;

/// How long the real thing may take to look like the model: what is done after a job's end, or by the reconciler, is
/// announced by nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon it is looked again.
const LOOK: Duration = Duration::from_millis(3);

/// A sequence on its way.
struct Run {
    world: World,
    models: Vec<Model>,
    /// Every job so far.
    jobs: Vec<Uuid>,
    /// Whether the first host waits because its queue is paused, and not because its worker stopped.
    queue_paused: bool,
}

/// Runs a sequence. Says which step went wrong, and how.
pub(crate) async fn run(db: Db, operations: &[Operation]) -> Result<(), String> {
    let mut run = Run {
        world: World::build(db).await,
        models: vec![Model::new()],
        jobs: Vec::new(),
        queue_paused: false,
    };
    for (tag, (image, edition)) in run.models[0].registry.clone() {
        run.world.push(tag, image, edition);
    }
    let mut outcome = Ok(());
    for (number, operation) in operations.iter().enumerate() {
        outcome = run.step(operation).await;
        if let Err(wrong) = outcome {
            outcome = Err(format!("step {number}, {operation:?}: {wrong}"));
            break;
        }
    }
    if outcome.is_ok() {
        check_invariants(&run.world.services.db).await;
    }
    run.world.end().await;
    outcome
}

impl Run {
    async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        use Operation as O;
        match operation.clone() {
            O::Push {
                tag,
                image,
                edition,
            } => {
                self.world.push(tag, image, edition);
                for model in &mut self.models {
                    model.registry.insert(tag, (image, edition));
                }
            }
            O::Pull {
                user,
                host,
                tag,
                fault,
                key,
            } => self.pull(user, host, tag, fault, key).await?,
            O::Remove { user, pick, key } => {
                let known = self.models[0].holdings.iter().filter_map(|held| held.id);
                let picked = one_of(known.collect(), pick);
                self.remove(user, picked, key, Faults::default()).await?;
            }
            O::RemoveOwn { user, pick } => {
                let picked = one_of(self.held_by(user, None), pick);
                self.remove(user, picked, None, Faults::default()).await?;
            }
            O::RemoveWithFault { user, pick } => {
                let picked = one_of(self.held_by(user, None), pick);
                self.world
                    .hosts
                    .iter()
                    .for_each(|host| host.engine.fail_deletions(1));
                self.remove(user, picked, None, Faults::of_removal())
                    .await?;
            }
            O::Cancel { user, pick } => self.cancel(user, one_of(self.known_jobs(), pick)).await?,
            O::CancelInTheMiddle { user, host, tag } => {
                self.cancel_in_the_middle(user, host, tag).await?;
            }
            O::Retry { user, pick } => self.retry(user, one_of(self.known_jobs(), pick)).await?,
            O::Pause { queue } => self.pause(queue).await?,
            O::Resume => self.resume().await?,
            O::Restart { host } => self.restart(host).await,
            O::Advance { minutes } => {
                let by = Duration::from_mins(u64::from(minutes));
                self.world.services.clock.advance(by);
            }
            O::OperatorPulls { .. }
            | O::OperatorTags { .. }
            | O::UseImage { .. }
            | O::Lose { .. } => {
                self.on_engine(operation).await;
            }
            O::Publish { .. }
            | O::RemovePublic { .. }
            | O::Grant { .. }
            | O::Sweep
            | O::Redrive { .. }
            | O::Discard { .. }
            | O::Ban { .. }
            | O::Drain { .. } => self.administer(operation.clone()).await?,
            O::AtOnce(items) => self.at_once(&items).await?,
        }
        self.world.settled().await?;
        self.clear_faults();
        self.compare().await
    }

    /// Compares, and forgets the models that do not agree.
    async fn compare(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (seen, ids) = Seen::of_world(&self.world).await;
            let agrees = |model: &Model| Seen::of_model(model) == seen;
            if self.models.iter().any(agrees) {
                self.models.retain(agrees);
                for model in &mut self.models {
                    for holding in &mut model.holdings {
                        let held = (holding.user, holding.host, holding.tag);
                        if holding.state == ImageState::Held {
                            holding.id = ids.get(&held).copied();
                        }
                    }
                }
                return Ok(());
            }
            if Instant::now() > until {
                let expected = Seen::of_model(&self.models[0]);
                let others = self.models.len() - 1;
                return Err(format!(
                    "seen {seen:#?}\nexpected {expected:#?}, or {others} others"
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn pull(
        &mut self,
        user: usize,
        host: usize,
        tag: usize,
        fault: Option<Fault>,
        key: Option<u8>,
    ) -> Result<(), String> {
        // Faults are for the next pull, and a paused host has none.
        let fault = fault.filter(|_| !self.is_paused(host));
        match fault {
            None => {}
            Some(Fault::Denied) => self.world.registry.refuse(StatusCode::FORBIDDEN, 1),
            Some(Fault::RegistryDown(times)) => self
                .world
                .registry
                .refuse(StatusCode::SERVICE_UNAVAILABLE, times),
            Some(Fault::DiskFull(times)) => {
                let engine = &self.world.hosts[host].engine;
                engine.fail_pulls(PullFault::DiskFull, times as usize);
            }
            Some(Fault::CutOff(times)) => {
                let engine = &self.world.hosts[host].engine;
                engine.fail_pulls(PullFault::CutOff, times as usize);
            }
        }
        let answer = self.ask_pull(user, host, tag, key).await;
        if self.is_banned(user) {
            return turned_away(answer);
        }
        self.answered(answer, Faults::of(fault), |model, now| {
            model.pull((user, host, tag), key, now)
        })
    }

    async fn remove(
        &mut self,
        user: usize,
        image: Option<Uuid>,
        key: Option<u8>,
        faults: Faults,
    ) -> Result<(), String> {
        let request = RemoveImage {
            user_id: self.world.users[user],
            image_id: image,
            idempotency_key: key.map(|key| key.to_string()),
            traceparent: None,
        };
        let answer = remove_image::accept(&self.world.services, &request).await;
        if self.is_banned(user) {
            return turned_away(answer);
        }
        self.answered(answer.map(|job| job.id), faults, |model, now| {
            let holding = image.and_then(|id| model.holding_with(id));
            model.remove(user, holding, key, now)
        })
    }

    async fn cancel(&mut self, user: usize, job: Option<Uuid>) -> Result<(), String> {
        let owner = Some(self.world.users[user]);
        let answer = cancel_job(&self.world.services, owner, job).await;
        self.answered(answer.map(|job| job.id), Faults::default(), |model, _| {
            let job = job.and_then(|id| model.job_of(id));
            model.cancel(user, job)
        })
    }

    async fn retry(&mut self, user: usize, job: Option<Uuid>) -> Result<(), String> {
        // Whether there is such a job is found out first.
        if self.is_banned(user) {
            return Ok(());
        }
        let caller = self.world.users[user];
        let answer = retry_job(&self.world.services, caller, Some(caller), job, None).await;
        self.answered(answer.map(|job| job.id), Faults::default(), |model, now| {
            let job = job.and_then(|id| model.job_of(id));
            model.retry(user, job, now)
        })
    }

    async fn cancel_in_the_middle(
        &mut self,
        user: usize,
        host: usize,
        tag: usize,
    ) -> Result<(), String> {
        let now = self.world.services.clock.now().micros();
        let mut expected = self.models[0].clone();
        let gets_there = expected
            .pull((user, host, tag), None, now)
            .is_ok_and(|job| !expected.jobs[job].state.is_final() && expected.read(job).is_ok());
        if self.is_paused(host) || self.is_banned(user) || !gets_there {
            return self.pull(user, host, tag, None, None).await;
        }
        self.world.hosts[host].engine.block();
        let job = self.ask_pull(user, host, tag, None).await;
        let job = job.map_err(|error| format!("a pull was refused: {error}"))?;
        let engine = &self.world.hosts[host].engine;
        let stuck = tokio::time::timeout(PATIENCE, engine.stuck(1)).await;
        stuck.map_err(|_| "the pull does not reach the engine".to_owned())?;
        let owner = Some(self.world.users[user]);
        let answer = cancel_job(&self.world.services, owner, Some(job)).await;
        answer.map_err(|error| format!("a running pull was not cancelled: {error}"))?;
        self.world.settled().await?;
        let engine = &self.world.hosts[host].engine;
        let dropped = tokio::time::timeout(PATIENCE, engine.stuck(0)).await;
        dropped.map_err(|_| "the cancelled pull goes on in the engine".to_owned())?;
        engine.open();
        self.jobs.push(job);
        for model in &mut self.models {
            let number = model
                .pull((user, host, tag), None, now)
                .map_err(|code| format!("accepted, and the model says {code:?}"))?;
            model.jobs[number].id = Some(job);
            model.cancel_in_the_middle(number);
        }
        Ok(())
    }

    /// Starts the worker of the first host again: what waits there runs, one after another.
    async fn resume(&mut self) -> Result<(), String> {
        if !self.is_paused(0) {
            return Ok(());
        }
        let started = self.attempts().await.len();
        if self.queue_paused {
            return self.resume_queue(started).await;
        }
        self.world.start_worker(0).await;
        self.world.settled().await?;
        let order: Vec<Uuid> = self.attempts().await.split_off(started);
        let mut possible = Vec::new();
        for model in &self.models {
            // The worker looks at the engine meanwhile.
            for looks in 0..=order.len() {
                let mut model = model.clone();
                model.hosts[0].paused = false;
                for (turn, id) in order.iter().enumerate() {
                    if turn == looks {
                        model.reconcile(0);
                    }
                    let job = model.job_of(*id).ok_or("an attempt of an unknown job")?;
                    model.attempt(job, &mut Faults::default());
                }
                if looks == order.len() {
                    model.reconcile(0);
                }
                possible.push(model);
            }
        }
        self.models = possible;
        self.in_order(&order)
    }

    /// One user's jobs on one reference ran in the order of their acceptance.
    fn in_order(&self, order: &[Uuid]) -> Result<(), String> {
        let model = &self.models[0];
        let ran: Vec<usize> = order.iter().filter_map(|id| model.job_of(*id)).collect();
        for (turn, later) in ran.iter().enumerate() {
            for earlier in &ran[..turn] {
                let (a, b) = (&model.jobs[*earlier], &model.jobs[*later]);
                if (a.user, a.tag) == (b.user, b.tag) && a.ordinal > b.ordinal {
                    return Err(format!("{b:?} waited for {a:?}"));
                }
            }
        }
        Ok(())
    }

    /// Stops and starts a worker, unless it is paused.
    async fn restart(&mut self, host: usize) {
        if !self.is_paused(host) {
            self.world.stop_worker(host).await;
            self.world.start_worker(host).await;
            self.models
                .iter_mut()
                .for_each(|model| model.reconcile(host));
        }
    }

    /// What an engine's operator does behind Wharfinger's back, and what Wharfinger makes of it.
    async fn on_engine(&mut self, operation: &Operation) {
        let model = &self.models[0];
        let (engine_of, has) = (
            |host: usize| &self.world.hosts[host].engine,
            |host: usize, image: usize| model.hosts[host].images.contains_key(&image),
        );
        match *operation {
            Operation::OperatorPulls { host, tag } => {
                let Some((number, _)) = model.registry.get(&tag).copied() else {
                    return;
                };
                let known = &model.hosts[host];
                if known.paused
                    || known.expected.contains(&number)
                    || known.unsure.contains(&number)
                {
                    return;
                }
                let reference = self.world.reference(tag);
                engine_of(host).operator_pulls(&image(number), &reference);
                for model in &mut self.models {
                    model.hosts[host].operator_pulls(tag, number);
                }
            }
            Operation::OperatorTags {
                host,
                image: number,
            } if has(host, number) => {
                engine_of(host).operator_tags(&image(number), &operators_name(number));
                for model in &mut self.models {
                    model.hosts[host].operator_tags(number);
                }
            }
            Operation::UseImage {
                host,
                image: number,
                used,
            } if has(host, number) => {
                engine_of(host).use_image(&image(number), used);
                for model in &mut self.models {
                    model.hosts[host].use_image(number, used);
                }
            }
            Operation::Lose {
                host,
                image: number,
            } if has(host, number) && !self.is_paused(host) => {
                engine_of(host).lose(&image(number));
                self.models
                    .iter_mut()
                    .for_each(|model| model.lose(host, number));
                self.restart(host).await;
            }
            _ => {}
        }
    }

    async fn ask_pull(
        &self,
        user: usize,
        host: usize,
        tag: usize,
        key: Option<u8>,
    ) -> Result<Uuid, ServiceError> {
        let request = PullImage {
            idempotency_key: key.map(|key| key.to_string()),
            ..self.world.request(user, host, tag)
        };
        let job = pull_image::accept(&self.world.services, &request).await?;
        Ok(job.id)
    }

    /// Compares an answer with what the model says, and lets the model run the job that came of it.
    fn answered(
        &mut self,
        answer: Result<Uuid, ServiceError>,
        faults: Faults,
        ask: impl Fn(&mut Model, i64) -> Answer,
    ) -> Result<(), String> {
        let answer = match answer {
            Ok(job) => Ok(job),
            Err(ServiceError::Rejected(error)) => Err(error.code),
            Err(error) => return Err(format!("failed: {error:?}")),
        };
        let now = self.world.services.clock.now().micros();
        let mut wrong = None;
        self.models.retain_mut(|model| {
            let expected = ask(model, now);
            match same(model, &answer, expected) {
                Ok(Some(job)) => {
                    if !model.hosts[model.jobs[job].host].paused {
                        model.run(job, faults);
                    }
                    true
                }
                Ok(None) => true,
                Err(difference) => {
                    wrong = Some(difference);
                    false
                }
            }
        });
        if let Ok(job) = answer
            && !self.jobs.contains(&job)
        {
            self.jobs.push(job);
        }
        match wrong.filter(|_| self.models.is_empty()) {
            Some(wrong) => Err(wrong),
            None => Ok(()),
        }
    }

    /// The jobs of every attempt on the first host, oldest attempt first.
    async fn attempts(&self) -> Vec<Uuid> {
        let found = job_attempt::Entity::find()
            .filter(job_attempt::Column::JobId.is_in(self.jobs.iter().copied()))
            .order_by_asc(job_attempt::Column::Id)
            .all(self.world.services.db.read())
            .await
            .unwrap();
        found.into_iter().map(|attempt| attempt.job_id).collect()
    }

    /// The ids of the jobs that did not come of several requests at once.
    fn known_jobs(&self) -> Vec<Uuid> {
        let jobs = self.models[0].jobs.iter();
        jobs.filter_map(|job| job.id).collect()
    }

    fn is_paused(&self, host: usize) -> bool {
        self.models[0].hosts[host].paused
    }

    fn is_banned(&self, user: usize) -> bool {
        self.models[0].banned.contains(&user)
    }

    /// The ids of what a user holds, on one host or on any.
    fn held_by(&self, user: usize, on: Option<usize>) -> Vec<Uuid> {
        let own = self.models[0].holdings.iter().filter(|holding| {
            holding.user == user
                && holding.state == ImageState::Held
                && on.is_none_or(|host| holding.host == host)
        });
        own.filter_map(|holding| holding.id).collect()
    }

    /// Faults that nobody met do not wait for the next one.
    fn clear_faults(&self) {
        self.world.registry.refuse(StatusCode::OK, 0);
        for host in &self.world.hosts {
            host.engine.fail_pulls(PullFault::DiskFull, 0);
            host.engine.fail_deletions(0);
        }
    }
}

/// Whether the model gave the same answer. Returns the job if it is a live one to be run.
fn same(
    model: &mut Model,
    answer: &Result<Uuid, UserErrorCode>,
    expected: Answer,
) -> Result<Option<usize>, String> {
    match (answer, expected) {
        (Ok(id), Ok(job)) => {
            let known = model.jobs[job].id.get_or_insert(*id);
            if *known == *id {
                Ok(Some(job))
            } else {
                Err(format!("another job than that of {:?}", model.jobs[job]))
            }
        }
        (Err(code), Err(expected)) if *code == expected => Ok(None),
        (Ok(_), Err(expected)) => Err(format!("accepted instead of {expected:?}")),
        (Err(code), expected) => Err(format!("refused with {code:?} instead of {expected:?}")),
    }
}

/// A banned user is let do nothing.
fn turned_away<T: std::fmt::Debug>(answer: Result<T, ServiceError>) -> Result<(), String> {
    match answer {
        Err(ServiceError::NotAllowed(_)) => Ok(()),
        answer => Err(format!("a banned user was answered {answer:?}")),
    }
}

fn one_of<T>(mut of: Vec<T>, pick: usize) -> Option<T> {
    (!of.is_empty()).then(|| of.swap_remove(pick % of.len()))
}
