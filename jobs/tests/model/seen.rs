//! What there is to be seen, of the real thing and of the model, in the same words.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use wharfinger_entity::{ImageState, ImageVisibility, JobErrorCode, JobKind, JobState};
use wharfinger_jobs::queries::images::{ImageFilter, ImageOrder, ImageView, With};
use wharfinger_jobs::queries::jobs::JobFilter;
use wharfinger_jobs::queries::page::PageArgs;
use wharfinger_jobs::queries::{self, Viewer};

use super::rules::{Does, Model, Name};
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
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    host: usize,
    tag: usize,
    kind: &'static str,
    state: &'static str,
    error: Option<&'static str>,
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
        let engines = engines.collect();
        let seen = Self {
            users,
            public,
            engines,
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
            state: image_state(held.state),
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

/// A list of images as a user sees it, with the ids of what `holder` holds.
async fn list(
    world: &World,
    user: usize,
    holder: usize,
    filter: &ImageFilter,
    ids: &mut Ids,
) -> Vec<Held> {
    let (db, id) = (&world.services.db, world.users[user]);
    let page = PageArgs {
        first: Some(100),
        ..PageArgs::default()
    };
    let viewer = Viewer {
        user_id: id,
        admin: false,
    };
    let order = ImageOrder::default();
    let with = With {
        engine: true,
        host: false,
    };
    let images = queries::images::list(db, viewer, id, filter, order, &page, with).await;
    let mut held = Vec::new();
    for (_, ImageView { image, engine, .. }) in images.unwrap().items {
        let (host, tag) = (
            world.host_of(image.host_id),
            world.tag_of(&image.reference).unwrap(),
        );
        if image.state == ImageState::Held {
            ids.insert((holder, host, tag), image.id);
        }
        let (meant, edition) = world.editions[&image.digest.unwrap()];
        assert_eq!(
            Some(meant),
            number_of(&engine.unwrap().image_id),
            "digest and image id"
        );
        held.push(Held {
            host,
            tag,
            image: meant,
            edition,
            charge: image.charge.micro(),
            state: image_state(image.state),
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
            jobs: sorted(
                jobs.map(|job| {
                    let kind = match job.does {
                        Does::Pull => JobKind::PullImage,
                        Does::Remove(_) => JobKind::RemoveImage,
                    };
                    let error = job.error;
                    Job::new(
                        job.host,
                        job.tag,
                        kind,
                        job.state,
                        error,
                        job.held,
                        job.attempt,
                    )
                })
                .collect(),
            ),
        }
    }

    async fn of_world(world: &World, user: usize, ids: &mut Ids) -> Self {
        let db = &world.services.db;
        let id = world.users[user];
        let viewer = Viewer::user(id);
        let page = PageArgs {
            first: Some(100),
            ..PageArgs::default()
        };
        let own = queries::users::by_ids(db, viewer, &[id]).await.unwrap();
        let private = whatever_state(ImageVisibility::Private);
        let held = list(world, user, user, &private, ids).await;
        let filter = JobFilter::default();
        let jobs = queries::jobs::list(db, viewer, &filter, &page).await;
        let ledger = queries::ledger::list(db, viewer, id, &page).await;
        let job = |job: wharfinger_entity::job::Model| {
            let host = world.host_of(job.host_id.unwrap());
            let tag = world.tag_of(&job.reference).unwrap();
            let (error, held) = (job.error_code, job.held.micro());
            Job::new(host, tag, job.kind, job.state, error, held, job.attempt)
        };
        let jobs = jobs.unwrap().items.into_iter().map(|(_, found)| job(found));
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
    fn new(
        host: usize,
        tag: usize,
        kind: JobKind,
        state: JobState,
        error: Option<JobErrorCode>,
        held: i64,
        attempt: i32,
    ) -> Self {
        let kind = match kind {
            JobKind::PullImage => "pull",
            JobKind::RemoveImage => "remove",
        };
        let state = match state {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Retrying => "retrying",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Dead => "dead",
            JobState::Cancelled => "cancelled",
        };
        Self {
            host,
            tag,
            kind,
            state,
            error: error.map(JobErrorCode::as_str),
            held,
            attempt: (HOSTS[host] == 1).then_some(attempt),
        }
    }
}

fn image_state(state: ImageState) -> &'static str {
    match state {
        ImageState::Held => "held",
        ImageState::Released => "released",
        ImageState::Lost => "lost",
    }
}

fn sorted<T: Ord>(mut of: Vec<T>) -> Vec<T> {
    of.sort_unstable();
    of
}
