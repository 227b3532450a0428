//! Several users who pull and let go of the same image at the same instant, while an administrator may publish it and an
//! operator may delete it by hand: hundreds of interleavings, each chosen by a seed.
//!
//! A round has a seed. It decides what everybody does, and gives every act, and every request of the worker to the
//! engine, a rank when it comes up: what has the highest rank of all that could happen next happens, so that what has a
//! low one happens last, however long it takes (probabilistic concurrency testing, Burckhardt et al., ASPLOS 2010). The
//! database's own interleavings come on top and are nobody's choice, so a seed makes a failure likely again, and not
//! certain: `WHARFINGER_TEST_SEED=… cargo test …` begins with it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;
use wharfinger_entity::{ImageState, ImageVisibility, JobState, engine_image, image, job};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::error::UserErrorCode;

use crate::support::images::{Repository, random_image};
use crate::support::invariants::check_invariants;
use crate::support::schedule::Schedule;
use crate::support::{Fleet, Shape, eventually, in_time, on_every_database};

on_every_database!(
    two_users_pull_and_remove_the_same_image,
    three_users_while_it_is_published_or_deleted_by_hand,
);

/// Rounds of each test on each database, and of the long form.
const ROUNDS: u64 = 40;
const MANY_ROUNDS: u64 = 200;

/// How long a step waits for something of a higher rank to come up, so that there is something to choose from.
const GATHER: Duration = Duration::from_millis(2);

/// And where all that could happen has a rank below this, so that what is late is really late.
const LOW: u8 = 64;

/// How long then.
const PATIENCE: Duration = Duration::from_millis(40);

/// How long a lock may be left when everything is done: less than until it runs out.
const LEFT_BEHIND: Duration = Duration::from_secs(8);

/// Tags of the one image.
const TAGS: [&str; 2] = ["1", "2"];

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Asks for a tag.
    Pull(&'static str),
    /// Lets go of something that they hold.
    Remove,
    /// Stops their newest job.
    Cancel,
    /// Publishes what somebody holds.
    Publish,
    /// Deletes the image by hand, with force.
    Delete,
}

/// Somebody, with what they have left to do.
struct Actor {
    id: Uuid,
    /// With their ranks; the last one comes first.
    acts: Vec<(u8, Act)>,
    newest: Option<Uuid>,
}

/// What happens in a round besides pulls and removals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Nobody,
    Interfere,
}

async fn two_users_pull_and_remove_the_same_image(shape: Shape) {
    rounds(shape, 2, Others::Nobody, ROUNDS).await;
}

async fn three_users_while_it_is_published_or_deleted_by_hand(shape: Shape) {
    rounds(shape, 3, Others::Interfere, ROUNDS).await;
}

/// Hundreds on each database.
mod long {
    use super::{MANY_ROUNDS, Others, Shape, rounds};

    async fn both(shape: Shape) {
        rounds(shape, 2, Others::Nobody, MANY_ROUNDS).await;
        rounds(shape, 3, Others::Interfere, MANY_ROUNDS).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "the long form: `make test-long`"]
    async fn on_sqlite() {
        both(Shape::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "the long form: `make test-long`"]
    async fn on_postgres() {
        both(Shape::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "the long form: `make test-long`"]
    async fn on_mariadb() {
        both(Shape::MariaDb).await;
    }
}

async fn rounds(shape: Shape, users: usize, others: Others, count: u64) {
    let mut fleet = Fleet::with(shape, |settings| settings.worker.concurrency = 6).await;
    let schedule = Schedule::start(&fleet.engine.url).await;
    fleet.stop_worker().await;
    fleet.start_worker_at(&schedule.url).await;
    let admin = fleet.admin().await;
    let mut ids = Vec::new();
    for _ in 0..users {
        ids.push(fleet.user("100").await);
    }
    let first: u64 = match std::env::var("WHARFINGER_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    };
    for round in 0..count {
        let seed = first.wrapping_add(round);
        // Shown if the test fails.
        println!("WHARFINGER_TEST_SEED={seed}");
        let stage = Stage {
            fleet: &fleet,
            schedule: &schedule,
            repository: fleet.repository(),
            admin,
            users: &ids,
        };
        stage.round(StdRng::seed_from_u64(seed), others).await;
    }
    fleet.finish().await;
}

struct Stage<'f> {
    fleet: &'f Fleet,
    schedule: &'f Schedule,
    repository: Repository,
    admin: Uuid,
    users: &'f [Uuid],
}

impl Stage<'_> {
    async fn round(&self, mut rng: StdRng, others: Others) {
        let fleet = self.fleet;
        let image = random_image(2000);
        let mut id = String::new();
        for tag in TAGS {
            id = self.repository.push(&fleet.registry, tag, &image).await;
        }
        let mut actors = self.cast(&mut rng, others);
        self.schedule.order(StdRng::from_rng(&mut rng));
        in_time("a round", self.play(&mut rng, &mut actors, &id)).await;
        self.schedule.open();
        self.nothing_stays_locked().await;
        check_invariants(&fleet.services.db).await;
        self.agrees(&id, others).await;
        self.everybody_lets_go(&id).await;
    }

    /// Who does what: everybody begins with a pull.
    fn cast(&self, rng: &mut StdRng, others: Others) -> Vec<Actor> {
        let mut actors: Vec<Actor> = Vec::new();
        for id in self.users {
            let mut acts = vec![Act::Pull(TAGS.choose(rng).unwrap())];
            for _ in 0..rng.random_range(1..5) {
                acts.push(match rng.random_range(0..10) {
                    0..4 => Act::Pull(TAGS.choose(rng).unwrap()),
                    4..9 => Act::Remove,
                    _ => Act::Cancel,
                });
            }
            acts.reverse();
            actors.push(Actor {
                id: *id,
                acts: acts.into_iter().map(|act| (rng.random(), act)).collect(),
                newest: None,
            });
        }
        if others == Others::Interfere {
            let mut acts = [Act::Publish, Act::Delete];
            acts.shuffle(rng);
            let count = rng.random_range(0..=acts.len());
            actors.push(Actor {
                id: self.admin,
                acts: acts[..count]
                    .iter()
                    .map(|act| (rng.random(), *act))
                    .collect(),
                newest: None,
            });
        }
        actors
    }

    /// Step by step until everybody has done everything and every job has ended.
    async fn play(&self, rng: &mut StdRng, actors: &mut [Actor], id: &str) {
        let mut waited = false;
        loop {
            let mut act = None;
            for (number, actor) in actors.iter().enumerate() {
                if self.is_ready(actor).await {
                    act = act.max(actor.acts.last().map(|(rank, _)| (*rank, number)));
                }
            }
            let request = self.schedule.highest();
            let Some(rank) = request.max(act.map(|(rank, _)| rank)) else {
                if self.all_ended().await && actors.iter().all(|actor| actor.acts.is_empty()) {
                    return;
                }
                self.schedule.another(GATHER).await;
                continue;
            };
            if !waited {
                waited = true;
                let time = if rank < LOW { PATIENCE } else { GATHER };
                self.schedule.another(time).await;
                continue;
            }
            waited = false;
            match act {
                Some((rank, number)) if request.is_none_or(|request| request <= rank) => {
                    self.act(rng, &mut actors[number], id).await;
                }
                _ => self.schedule.let_through(),
            }
        }
    }

    /// Whether somebody can do what they want to do next: whoever is to let go of something first waits for it, unless
    /// nothing will come.
    async fn is_ready(&self, actor: &Actor) -> bool {
        match actor.acts.last().map(|(_, act)| act) {
            None => false,
            Some(Act::Remove) => {
                !self.fleet.holdings(actor.id).await.is_empty() || self.has_ended(actor).await
            }
            Some(Act::Publish | Act::Delete) => {
                self.somebodys().await.is_some() || self.all_ended().await
            }
            Some(_) => true,
        }
    }

    async fn act(&self, rng: &mut StdRng, actor: &mut Actor, id: &str) {
        let fleet = self.fleet;
        match actor.acts.pop().map(|(_, act)| act) {
            Some(Act::Pull(tag)) => {
                let job = fleet.pull(actor.id, &self.repository.tag(tag)).await;
                actor.newest = Some(job.id);
            }
            Some(Act::Remove) => {
                let holdings = fleet.holdings(actor.id).await;
                if let Some(holding) = holdings.choose(rng) {
                    match fleet.try_remove(actor.id, holding.id).await {
                        Ok(job) => actor.newest = Some(job.id),
                        // It ended since it was listed.
                        Err(error) => assert_eq!(error.code, UserErrorCode::NotRemovable),
                    }
                }
            }
            Some(Act::Cancel) => {
                // It may have ended already.
                let _ = cancel_job(&fleet.services, Some(actor.id), actor.newest).await;
            }
            Some(Act::Publish) => {
                if let Some(holding) = self.somebodys().await {
                    // It waits for a removal that is under way, whose requests have to get through meanwhile.
                    let public = ImageVisibility::Public;
                    let publishing = fleet.set_visibility(actor.id, holding, public);
                    let mut publishing = std::pin::pin!(publishing);
                    let published = loop {
                        tokio::select! {
                            published = &mut publishing => break published,
                            () = self.schedule.another(GATHER) => self.schedule.let_through(),
                        }
                    };
                    if let Err(error) = published {
                        assert_eq!(error.code, UserErrorCode::ImageNotFound, "{error}");
                    }
                }
            }
            Some(Act::Delete) => fleet.engine.try_remove(id).await,
            None => {}
        }
    }

    /// An image that some user holds.
    async fn somebodys(&self) -> Option<Uuid> {
        for user in self.users {
            if let Some(holding) = self.fleet.holdings(*user).await.first() {
                return Some(holding.id);
            }
        }
        None
    }

    async fn has_ended(&self, actor: &Actor) -> bool {
        match actor.newest {
            Some(job) => self.fleet.job(job).await.state.is_final(),
            None => true,
        }
    }

    async fn all_ended(&self) -> bool {
        let live = job::Entity::find()
            .filter(job::Column::Live.eq(1))
            .one(self.fleet.services.db.read());
        live.await.unwrap().is_none()
    }

    /// Who changed an image has given its lock back. One that is left behind keeps everybody out for fifteen seconds.
    async fn nothing_stays_locked(&self) {
        let locked = || {
            engine_image::Entity::find()
                .filter(engine_image::Column::LockToken.is_not_null())
                .one(self.fleet.services.db.read())
        };
        let unlocked = async {
            while locked().await.unwrap().is_some() {
                tokio::time::sleep(GATHER).await;
            }
        };
        let in_time = tokio::time::timeout(LEFT_BEHIND, unlocked).await;
        let left = locked().await;
        assert!(in_time.is_ok(), "a lock was left behind: {left:?}");
    }

    /// The database and the engine mean the same: what is held is there, under its tags, and what nobody holds is gone.
    async fn agrees(&self, id: &str, others: Others) {
        let fleet = self.fleet;
        for job in job::Entity::find()
            .all(fleet.services.db.read())
            .await
            .unwrap()
        {
            let ended = [JobState::Succeeded, JobState::Cancelled];
            assert!(ended.contains(&job.state), "{job:?}");
        }
        if others == Others::Nobody {
            // The reconciler would mend it if a pull were settled while its image was being deleted: that must not be.
            let lost = image::Entity::find()
                .filter(image::Column::State.eq(ImageState::Lost))
                .one(fleet.services.db.read());
            assert_eq!(lost.await.unwrap(), None);
        }
        eventually("database and engine agree", || async {
            let mut held = fleet.holdings(Uuid::nil()).await;
            for user in self.users {
                held.extend(fleet.holdings(*user).await);
            }
            held.retain(|holding| holding.reference.starts_with(&self.repository.full_name()));
            let there = fleet.engine.id_of(id).await.is_some();
            if held.is_empty() == there {
                return None;
            }
            for holding in held {
                let means = fleet.engine.id_of(&holding.reference).await;
                // Whoever deletes by hand takes the tags along.
                if means.as_deref() != Some(id) && others == Others::Nobody {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Every credit comes back, and the engine has nothing left of it.
    async fn everybody_lets_go(&self, id: &str) {
        let fleet = self.fleet;
        for public in fleet.holdings(Uuid::nil()).await {
            fleet.removed(self.admin, public.id).await;
        }
        for user in self.users {
            for holding in fleet.holdings(*user).await {
                fleet.removed(*user, holding.id).await;
            }
            let account = fleet.account(*user).await;
            assert_eq!(account.total, "100".parse().unwrap(), "{account:?}");
        }
        fleet.engine.loses(id).await;
    }
}
