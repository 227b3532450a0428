//! What an administrator does, for real and in the model.

use std::collections::BTreeSet;

use wharfinger_entity::{Credits, UserStatus, engine_image, image_in_use, user};
use wharfinger_jobs::accounts::{GrantCredits, UpdateUser, grant_credits, update_user};
use wharfinger_jobs::commands::discard_job::discard_job;
use wharfinger_jobs::commands::retry_dead_jobs::{DeadJobs, retry_dead_jobs};
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::commands::set_queue_paused::set_queue_paused;
use wharfinger_jobs::sweep_images::{SweepImages, sweep_images};

use super::*;
use crate::model::rules::Redriven;
use crate::model::scene::{ADMIN, EVERYONE};
use crate::model::world::number_of;
use wharfinger_entity::ImageVisibility;

impl Run {
    pub(super) async fn administer(&mut self, operation: Operation) -> Result<(), String> {
        use Operation as O;
        match operation {
            O::Publish { pick } => self.publish(pick).await,
            O::RemovePublic { pick } => {
                let public = one_of(self.held_by(EVERYONE, None), pick);
                self.remove(ADMIN, public, None, Faults::default()).await
            }
            O::Grant { user, amount, key } => self.grant(user, amount, key).await,
            O::Sweep => self.sweep().await,
            O::Redrive { host } => self.redrive(host).await,
            O::Discard { pick } => {
                let job = one_of(self.known_jobs(), pick);
                let actor = self.world.administrator();
                let answer = discard_job(&self.world.services, &actor, job).await;
                let answer = answer.map(|job| job.id);
                self.agreed(answer, |model, _| {
                    let number = job.and_then(|id| model.job_of(id));
                    model.discard(number).map(|_| job.unwrap_or_default())
                })
            }
            O::Ban { user, banned } => self.ban(user, banned).await,
            O::Drain { host, drained } => {
                let (services, actor) = (&self.world.services, self.world.administrator());
                let id = Some(self.world.hosts[host].id);
                let set = set_host_schedulable(services, &actor, id, !drained).await;
                let set = set.map_err(|error| format!("a host was not drained: {error}"))?;
                for model in &mut self.models {
                    model.hosts[host].drained = drained;
                }
                (set.schedulable != drained)
                    .then_some(())
                    .ok_or_else(|| format!("{set:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Compares an answer without a job to be run with what the models say, and forgets those that say another.
    fn agreed<T: Clone + PartialEq + std::fmt::Debug>(
        &mut self,
        answer: Result<T, ServiceError>,
        ask: impl Fn(&mut Model, i64) -> Result<T, UserErrorCode>,
    ) -> Result<(), String> {
        let answer = match answer {
            Ok(answer) => Ok(answer),
            Err(ServiceError::Rejected(error)) => Err(error.code),
            Err(error) => return Err(format!("failed: {error:?}")),
        };
        let now = self.world.services.clock.now().micros();
        let mut expected = None;
        self.models.retain_mut(|model| {
            let said = ask(model, now);
            let agrees = said == answer;
            expected = Some(said);
            agrees
        });
        if self.models.is_empty() {
            return Err(format!("answered {answer:?} instead of {expected:?}"));
        }
        Ok(())
    }

    async fn publish(&mut self, pick: usize) -> Result<(), String> {
        let held = self.models[0].holdings.iter();
        let held = held.filter(|holding| holding.state == ImageState::Held);
        let image = one_of(held.filter_map(|holding| holding.id).collect(), pick);
        let (services, actor) = (&self.world.services, self.world.administrator());
        let answer = set_image_visibility(services, &actor, image, ImageVisibility::Public).await;
        self.agreed(answer.map(|_| ()), |model, _| {
            let holding = image.and_then(|id| model.holding_with(id));
            model.set_public(holding)
        })
    }

    async fn grant(&mut self, user: usize, amount: i64, key: Option<u8>) -> Result<(), String> {
        let services = &self.world.services;
        let caller = user::Entity::find_by_id(self.world.users[ADMIN])
            .one(services.db.read())
            .await
            .unwrap()
            .unwrap();
        let key_text = key.map(|key| key.to_string());
        let grant = GrantCredits {
            caller: &caller,
            user_id: Some(self.world.users[user]),
            amount: Credits::from_micro(amount),
            reason: "a test",
            idempotency_key: key_text.as_deref(),
        };
        let answer = grant_credits(services, &grant).await;
        self.agreed(answer.map(|_| ()), |model, _| {
            model.grant(user, amount, key)
        })
    }

    async fn ban(&mut self, user: usize, banned: bool) -> Result<(), String> {
        let (services, actor) = (&self.world.services, self.world.administrator());
        let status = if banned {
            UserStatus::Banned
        } else {
            UserStatus::Active
        };
        let change = UpdateUser {
            user_id: Some(self.world.users[user]),
            status: Some(status),
            ..UpdateUser::default()
        };
        let changed = update_user(services, &actor, &change).await;
        changed.map_err(|error| format!("a user was not changed: {error}"))?;
        for model in &mut self.models {
            if banned {
                model.banned.insert(user);
            } else {
                model.banned.remove(&user);
            }
        }
        Ok(())
    }

    /// One dead letter at a time, so that what comes of it has an order.
    async fn redrive(&mut self, host: usize) -> Result<(), String> {
        let (services, actor) = (&self.world.services, self.world.administrator());
        let which = DeadJobs {
            queue: Some(self.world.hosts[host].name.clone()),
            limit: 1,
            ..DeadJobs::default()
        };
        let redriven = retry_dead_jobs(services, &actor, &which).await;
        let redriven = redriven.map_err(|error| format!("nothing was redriven: {error}"))?;
        let done = redriven.jobs.first().map(|job| (job.id, None));
        let refused = redriven.refused.first();
        let answer = done.or(refused.map(|(id, error)| (*id, Some(error.code))));
        let said = |model: &Model, redriven: Redriven| {
            redriven.map(|(job, refused)| (model.jobs[job].id.unwrap_or_default(), refused))
        };
        self.agreed(Ok(answer), |model, _| {
            let redriven = model.redrive(host);
            let said = said(model, redriven);
            if let Some((job, None)) = redriven
                && !model.hosts[host].paused
            {
                model.run(job, Faults::default());
            }
            Ok(said)
        })
    }

    /// The removals run one after another, in the order that the attempts tell.
    async fn sweep(&mut self) -> Result<(), String> {
        if self.world.hosts[0].held_up || self.is_paused(0) {
            return Ok(());
        }
        // Which images containers use is known from the worker's last look.
        self.restart(0).await;
        self.compare().await?;
        self.knows_what_is_used().await?;
        let started = self.attempts().await.len();
        let request = SweepImages {
            actor: self.world.administrator(),
            hosts: Some(vec![Some(self.world.hosts[0].id)]),
            traceparent: None,
        };
        let swept = sweep_images(&self.world.services, &request).await;
        let swept = swept.map_err(|error| format!("nothing was swept: {error}"))?;
        let images: BTreeSet<Uuid> = swept.iter().filter_map(|job| job.image_id).collect();
        self.jobs.extend(swept.iter().map(|job| job.id));
        self.agreed(Ok(images), |model, now| {
            for job in &swept {
                let holding = job.image_id.and_then(|id| model.holding_with(id));
                if let Some(holding) = holding {
                    let number = model.sweep_one(holding, now);
                    model.jobs[number].id = Some(job.id);
                }
            }
            let expected = model.to_sweep(0).into_iter();
            Ok(expected
                .filter_map(|holding| model.holdings[holding].id)
                .collect())
        })?;
        self.world.settled().await?;
        let order = self.attempts().await.split_off(started);
        self.ran(&order)
    }

    /// Lets every model run these jobs' attempts in this order.
    pub(super) fn ran(&mut self, order: &[Uuid]) -> Result<(), String> {
        for model in &mut self.models {
            for id in order {
                let job = model.job_of(*id).ok_or("an attempt of an unknown job")?;
                model.attempt(job, &mut Faults::default());
            }
        }
        Ok(())
    }

    /// Waits until the database knows which of the known images of the first host containers use.
    async fn knows_what_is_used(&self) -> Result<(), String> {
        let (db, host) = (self.world.services.db.read(), self.world.hosts[0].id);
        let used = &self.models[0].hosts[0].used;
        let until = Instant::now() + PATIENCE;
        loop {
            let known = engine_image::Entity::find()
                .filter(engine_image::Column::HostId.eq(host))
                .all(db)
                .await
                .unwrap();
            let is_used = |row: &&engine_image::Model| {
                number_of(&row.image_id).is_some_and(|number| used.contains(&number))
            };
            let expected: BTreeSet<Uuid> = known.iter().filter(is_used).map(|row| row.id).collect();
            let noted = image_in_use::Entity::find()
                .filter(image_in_use::Column::HostId.eq(host))
                .all(db)
                .await
                .unwrap();
            if noted.into_iter().map(|row| row.id).collect::<BTreeSet<_>>() == expected {
                return Ok(());
            }
            if Instant::now() > until {
                return Err("what containers use is not noted".into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets what the first host is to do wait.
    pub(super) async fn pause(&mut self, queue: bool) -> Result<(), String> {
        if self.is_paused(0) {
            return Ok(());
        }
        if queue {
            self.set_queue_paused(true).await?;
        } else {
            self.world.stop_worker(0).await;
        }
        self.queue_paused = queue;
        for model in &mut self.models {
            model.hosts[0].paused = true;
        }
        Ok(())
    }

    /// Lets the queue of the first host go on: what waits runs, one after another.
    pub(super) async fn resume_queue(&mut self, started: usize) -> Result<(), String> {
        self.set_queue_paused(false).await?;
        self.queue_paused = false;
        self.world.settled().await?;
        let order = self.attempts().await.split_off(started);
        for model in &mut self.models {
            model.hosts[0].paused = false;
        }
        self.ran(&order)?;
        self.in_order(&order)
    }

    async fn set_queue_paused(&mut self, paused: bool) -> Result<(), String> {
        let (services, actor) = (&self.world.services, self.world.administrator());
        let set = set_queue_paused(services, &actor, &self.world.hosts[0].name, paused).await;
        set.map_err(|error| format!("the queue was not paused or resumed: {error}"))?;
        self.world.hosts[0].held_up = paused;
        Ok(())
    }
}
