//! What there is to be seen, of the real thing and of the model, in the same words.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ActiveEnum as _;
use uuid::Uuid;
use wharfinger_entity::{ImageState, ImageVisibility, JobKind, job};
use wharfinger_jobs::queries::images::{ImageFilter, ImageOrder, ImageView, With};
use wharfinger_jobs::queries::jobs::JobFilter;
use wharfinger_jobs::queries::page::PageArgs;
use wharfinger_jobs::queries::{self, Viewer};

use super::rules::{self, Does, Model, Name};
use super::scene::{EVERYONE, HOSTS};
use super::world::{World, number_of, operators_name};

/// What everyone sees, and what the engines have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    users: Vec<Account>,
    /// What is and was public.
    public: Vec<Held>,
    engines: Vec<Contents>,
}

/// What one user sees. In an order of its own, since things that happen at once have none.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    total: i64,
    held: i64,
    ledger: Vec<i64>,
    images: Vec<Held>,
    jobs: Vec<Job>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    host: usize,
    tag: usize,
    image: usize,
    edition: u32,
    charge: i64,
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    host: usize,
    tag: usize,
    kind: String,
    state: String,
    error: Option<String>,
    held: i64,
    /// Where jobs run one after another; anywhere else they may meet and try again.
    attempt: Option<i32>,
}

/// An engine's images and names.
#[derive(Clone, Debug, PartialEq)]
struct Contents {
    images: BTreeSet<usize>,
    names: BTreeMap<Name, usize>,
}

/// The ids of what users hold, by user, host and tag.
pub(crate) type Ids = BTreeMap<(usize, usize, usize), Uuid>;

impl Seen {
    /// What the model says.
    pub(crate) fn of_model(model: &Model) -> Self {
        let users = 0..model.ledgers.len();
        Self {
            users: users.map(|user| Account::of_model(model, user)).collect(),
            public: held_by(model, EVERYONE),
            engines: model
                .hosts
                .iter()
                .map(|host| Contents {
                    images: host.images.keys().copied().collect(),
                    names: host.names.clone(),
                })
                .collect(),
        }
    }

    /// What users are told by the functions that the API reads with, and what the engines have. With the ids of holdings.
    pub(crate) async fn of_world(world: &World) -> (Self, Ids) {
        let mut ids = Ids::new();
        let mut users = Vec::new();
        for user in 0..world.users.len() {
            users.push(Account::of_world(world, user, &mut ids).await);
        }
        let public = public(world, &mut ids).await;
        let engines = world.hosts.iter().map(|host| {
            let (images, names) = host.engine.images();
            Contents {
                images: images.iter().map(|id| number_of(id).unwrap()).collect(),
                names: names
                    .iter()
                    .map(|(name, id)| (name_of(world, name), number_of(id).unwrap()))
                    .collect(),
            }
        });
        let seen = Self {
            users,
            public,
            engines: engines.collect(),
        };
        (seen, ids)
    }
}

/// What the model says that a user, or everyone, holds and held.
fn held_by(model: &Model, user: usize) -> Vec<Held> {
    let held = model.holdings.iter().filter(|held| held.user == user);
    sorted(
        held.map(|held| Held {
            host: held.host,
            tag: held.tag,
            image: held.image,
            edition: held.edition,
            charge: held.charge,
            state: held.state.to_value(),
        })
        .collect(),
    )
}

/// Images of every state.
fn whatever_state(visibility: ImageVisibility) -> ImageFilter {
    ImageFilter {
        states: Some(vec![
            ImageState::Held,
            ImageState::Released,
            ImageState::Lost,
        ]),
        visibility: Some(visibility),
        ..ImageFilter::default()
    }
}

/// What is and was public on the hosts of this world: others may use its database.
async fn public(world: &World, ids: &mut Ids) -> Vec<Held> {
    let mut public = Vec::new();
    for host in &world.hosts {
        let filter = ImageFilter {
            host_id: Some(host.id),
            ..whatever_state(ImageVisibility::Public)
        };
        public.extend(list(world, 0, EVERYONE, &filter, ids).await);
    }
    sorted(public)
}

/// A page with all that there is.
fn everything() -> PageArgs {
    PageArgs {
        first: Some(100),
        ..PageArgs::default()
    }
}

/// A list of images as a user sees it, with the ids of what `holder` holds.
async fn list(
    world: &World,
    user: usize,
    holder: usize,
    filter: &ImageFilter,
    ids: &mut Ids,
) -> Vec<Held> {
    let (db, id) = (&world.services.db, world.users[user]);
    let (viewer, order) = (Viewer::user(id), ImageOrder::default());
    let with = With {
        engine: true,
        host: false,
    };
    let images = queries::images::list(db, viewer, id, filter, order, &everything(), with).await;
    let mut held = Vec::new();
    for (_, ImageView { image, engine, .. }) in images.unwrap().items {
        let host = world.host_of(image.host_id);
        let tag = world.tag_of(&image.reference).unwrap();
        if image.state == ImageState::Held {
            ids.insert((holder, host, tag), image.id);
        }
        let (meant, edition) = world.editions[&image.digest.unwrap()];
        let there = number_of(&engine.unwrap().image_id);
        assert_eq!(Some(meant), there, "digest and image id");
        held.push(Held {
            host,
            tag,
            image: meant,
            edition,
            charge: image.charge.micro(),
            state: image.state.to_value(),
        });
    }
    held
}

fn name_of(world: &World, name: &str) -> Name {
    let operators = |image: &usize| operators_name(*image) == name;
    match world.tag_of(name) {
        Some(tag) => Name::Tag(tag),
        None => Name::Operators((0..9).find(operators).expect("a name that somebody gave")),
    }
}

impl Account {
    fn of_model(model: &Model, user: usize) -> Self {
        let jobs = model.jobs.iter().filter(|job| job.user == user);
        Self {
            total: model.total(user),
            held: model.held(user),
            ledger: sorted(model.ledgers[user].clone()),
            images: held_by(model, user),
            jobs: sorted(jobs.map(Job::of_model).collect()),
        }
    }

    async fn of_world(world: &World, user: usize, ids: &mut Ids) -> Self {
        let db = &world.services.db;
        let id = world.users[user];
        let viewer = Viewer::user(id);
        let page = everything();
        let own = queries::users::by_ids(db, viewer, &[id]).await.unwrap();
        let private = whatever_state(ImageVisibility::Private);
        let held = list(world, user, user, &private, ids).await;
        let filter = JobFilter::default();
        let jobs = queries::jobs::list(db, viewer, &filter, &page).await;
        let ledger = queries::ledger::list(db, viewer, id, &page).await;
        let jobs = jobs.unwrap().items.into_iter();
        let jobs = jobs.map(|(_, job)| Job::of_world(world, &job));
        let ledger = ledger.unwrap().items.into_iter();
        Self {
            total: own[0].total.micro(),
            held: own[0].held.micro(),
            ledger: sorted(ledger.map(|(_, entry)| entry.amount.micro()).collect()),
            images: sorted(held),
            jobs: sorted(jobs.collect()),
        }
    }
}

impl Job {
    fn of_model(job: &rules::Job) -> Self {
        let kind = match job.does {
            Does::Pull => JobKind::PullImage,
            Does::Remove(_) => JobKind::RemoveImage,
        };
        Self {
            host: job.host,
            tag: job.tag,
            kind: kind.to_value(),
            state: job.state.to_value(),
            error: job.error.map(|code| code.to_value()),
            held: job.held,
            attempt: seen_attempt(job.host, job.attempt),
        }
    }

    fn of_world(world: &World, job: &job::Model) -> Self {
        let host = world.host_of(job.host_id.unwrap());
        Self {
            host,
            tag: world.tag_of(&job.reference).unwrap(),
            kind: job.kind.to_value(),
            state: job.state.to_value(),
            error: job.error_code.map(|code| code.to_value()),
            held: job.held.micro(),
            attempt: seen_attempt(host, job.attempt),
        }
    }
}

fn seen_attempt(host: usize, attempt: i32) -> Option<i32> {
    (HOSTS[host] == 1).then_some(attempt)
}

fn sorted<T: Ord>(mut of: Vec<T>) -> Vec<T> {
    of.sort_unstable();
    of
}
