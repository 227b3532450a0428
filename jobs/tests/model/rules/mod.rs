//! The rules of DESIGN.md in plain memory: who has what, and what comes of each request. One thing at a time; where the
//! order of things is open, the test keeps every model that may be right.
//!
//! `requests` answers what users ask for, `administrator` what an administrator does, `jobs` runs what was accepted, `engine`
//! is what a host's engine has.

mod administrator;
mod engine;
mod jobs;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use wharfinger_entity::{ImageState, JobErrorCode, JobState};

use super::scene::{EVERYONE, HOSTS, USERS};
pub(crate) use administrator::Redriven;
pub(crate) use engine::{Host, Name};
pub(crate) use jobs::Faults;
pub(crate) use requests::Answer;

/// Everything that there is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    /// The movements of each user's credits.
    pub(crate) ledgers: Vec<Vec<i64>>,
    pub(crate) hosts: Vec<Host>,
    /// The image and the edition of its manifest that each tag of the registry means.
    pub(crate) registry: BTreeMap<usize, (usize, u32)>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) holdings: Vec<Holding>,
    /// What each user pays for, by user, host and image.
    pub(crate) payments: BTreeMap<(usize, usize, usize), i64>,
    /// The jobs of idempotency keys, with what was asked.
    pub(crate) keys: BTreeMap<(usize, Asked, u8), (usize, usize)>,
    /// Who tried a pull again, and when.
    pub(crate) retries: Vec<(usize, i64)>,
    /// Users who may do nothing.
    pub(crate) banned: BTreeSet<usize>,
    /// How often a redrive refused a dead letter.
    pub(crate) refusals: u32,
}

/// The mutations that take keys here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    Pull,
    Remove,
    Grant,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Known for those that did not come of several requests at once.
    pub(crate) id: Option<Uuid>,
    pub(crate) user: usize,
    pub(crate) host: usize,
    pub(crate) tag: usize,
    pub(crate) does: Does,
    pub(crate) state: JobState,
    pub(crate) error: Option<JobErrorCode>,
    pub(crate) held: i64,
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    /// Micros of the clock at the first acceptance.
    pub(crate) created_at: i64,
    /// The image that it was found to be about.
    pub(crate) means: Option<usize>,
    /// Grows with every acceptance.
    pub(crate) ordinal: usize,
    /// A dead letter that was taken off the list.
    pub(crate) discarded: bool,
    /// The how-manieth refusal of a redrive was the last one of this job; 0 where there was none.
    pub(crate) refused: u32,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Pull,
    /// Of this holding.
    Remove(usize),
}

/// An image as a user holds or held it, or everyone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Holding {
    /// Known once it was seen in a list.
    pub(crate) id: Option<Uuid>,
    pub(crate) user: usize,
    pub(crate) host: usize,
    pub(crate) tag: usize,
    pub(crate) image: usize,
    pub(crate) edition: u32,
    pub(crate) charge: i64,
    pub(crate) state: ImageState,
}

impl Model {
    /// Users with their first balances, empty engines, and a registry with some tags: two of one image, and one missing.
    pub(crate) fn new() -> Self {
        Self {
            ledgers: USERS.iter().map(|credits| vec![*credits]).collect(),
            hosts: vec![Host::default(); HOSTS.len()],
            registry: BTreeMap::from([(0, (2, 0)), (1, (2, 0)), (2, (0, 0))]),
            jobs: Vec::new(),
            holdings: Vec::new(),
            payments: BTreeMap::new(),
            keys: BTreeMap::new(),
            retries: Vec::new(),
            banned: BTreeSet::new(),
            refusals: 0,
        }
    }

    pub(crate) fn total(&self, user: usize) -> i64 {
        self.ledgers[user].iter().sum()
    }

    pub(crate) fn held(&self, user: usize) -> i64 {
        self.live_jobs(user).map(|job| job.held).sum()
    }

    fn available(&self, user: usize) -> i64 {
        self.total(user) - self.held(user)
    }

    pub(crate) fn live_jobs(&self, user: usize) -> impl Iterator<Item = &Job> {
        self.jobs
            .iter()
            .filter(move |job| job.user == user && !job.state.is_final())
    }

    /// The user's live holding of a tag.
    pub(crate) fn holding_of(&self, user: usize, host: usize, tag: usize) -> Option<usize> {
        self.holdings.iter().position(|holding| {
            holding.state == ImageState::Held
                && (holding.user, holding.host, holding.tag) == (user, host, tag)
        })
    }

    /// The live public image of a tag.
    fn public_of(&self, host: usize, tag: usize) -> Option<usize> {
        self.holding_of(EVERYONE, host, tag)
    }

    /// Whether an image is public on a host, by whatever tag.
    fn is_public(&self, host: usize, image: usize) -> bool {
        self.holders(host, image)
            .any(|(_, holding)| holding.user == EVERYONE)
    }

    /// Every live holding of an image on a host.
    fn holders(&self, host: usize, image: usize) -> impl Iterator<Item = (usize, &Holding)> {
        self.holdings
            .iter()
            .enumerate()
            .filter(move |(_, holding)| {
                holding.state == ImageState::Held && (holding.host, holding.image) == (host, image)
            })
    }

    /// Whether a live pull, apart from one, is about an image.
    fn is_meant(&self, host: usize, image: usize, apart_from: Option<usize>) -> bool {
        self.jobs.iter().enumerate().any(|(number, job)| {
            Some(number) != apart_from
                && job.does == Does::Pull
                && !job.state.is_final()
                && (job.host, job.means) == (host, Some(image))
        })
    }

    /// Ends a holding; with the user's last tag of the image the charge comes back.
    fn end_holding(&mut self, number: usize, state: ImageState) {
        self.holdings[number].state = state;
        let Holding {
            user, host, image, ..
        } = self.holdings[number];
        let last = !self
            .holders(host, image)
            .any(|(_, other)| other.user == user);
        if last && let Some(paid) = self.payments.remove(&(user, host, image)) {
            self.ledgers[user].push(paid);
        }
    }
}
