//! What users ask for, and what they are told.

use uuid::Uuid;
use wharfinger_entity::{ImageState, JobState};
use wharfinger_jobs::error::UserErrorCode;

use super::super::scene::{ADMIN, ATTEMPTS, EVERYONE, LIVE_JOBS, MINIMUM, PULLS_AN_HOUR};
use super::{Asked, Does, Job, Model};

const HOUR: i64 = 3_600_000_000;

/// The number of the job that came of a request, or what was wrong with it.
pub(crate) type Answer = Result<usize, UserErrorCode>;

impl Model {
    /// `pullImage`
    pub(crate) fn pull(
        &mut self,
        (user, host, tag): (usize, usize, usize),
        key: Option<u8>,
        now: i64,
    ) -> Answer {
        let asked = host * 100 + tag;
        if let Some(earlier) = self.earlier((user, Asked::Pull), key, asked) {
            return earlier;
        }
        if self.hosts[host].drained {
            return Err(UserErrorCode::HostUnavailable);
        }
        self.within_limits(user, now)?;
        let public = self.public_of(host, tag);
        if public.is_none() && self.available(user) < MINIMUM {
            return Err(UserErrorCode::InsufficientCredits);
        }
        let job = self.accepted(user, host, tag, Does::Pull, now);
        match public {
            None => self.jobs[job].held = MINIMUM,
            // Pulled again, and nobody pays for it.
            Some(_) if user == ADMIN => {}
            Some(public) => {
                self.use_public(job, public);
                self.end_job(job, JobState::Succeeded, None);
            }
        }
        self.remember((user, Asked::Pull), key, asked, job);
        Ok(job)
    }

    /// `removeImage`; none is an image that there never was.
    pub(crate) fn remove(
        &mut self,
        user: usize,
        holding: Option<usize>,
        key: Option<u8>,
        now: i64,
    ) -> Answer {
        let asked = holding.unwrap_or(usize::MAX);
        if let Some(earlier) = self.earlier((user, Asked::Remove), key, asked) {
            return earlier;
        }
        let sees = |number: &usize| [user, EVERYONE].contains(&self.holdings[*number].user);
        let number = holding.filter(sees).ok_or(UserErrorCode::ImageNotFound)?;
        let holding = &self.holdings[number];
        let anothers = holding.user == EVERYONE && user != ADMIN;
        if anothers || holding.state != ImageState::Held {
            return Err(UserErrorCode::NotRemovable);
        }
        let (host, tag) = (holding.host, holding.tag);
        let job = self
            .live_removal_of(number)
            .unwrap_or_else(|| self.accepted(user, host, tag, Does::Remove(number), now));
        self.remember((user, Asked::Remove), key, asked, job);
        Ok(job)
    }

    /// `cancelJob` of a job that no worker has.
    pub(crate) fn cancel(&mut self, user: usize, job: Option<usize>) -> Answer {
        let job = self.own_job(user, job)?;
        if self.jobs[job].state.is_final() {
            return Err(UserErrorCode::JobNotCancellable);
        }
        self.end_job(job, JobState::Cancelled, None);
        Ok(job)
    }

    /// `retryJob`
    pub(crate) fn retry(&mut self, user: usize, job: Option<usize>, now: i64) -> Answer {
        let number = self.own_job(user, job)?;
        if !matches!(
            self.jobs[number].state,
            JobState::Failed | JobState::Dead | JobState::Cancelled
        ) {
            return Err(UserErrorCode::JobNotRetryable);
        }
        let is_pull = self.jobs[number].does == Does::Pull;
        if is_pull {
            self.within_limits(user, now)?;
        }
        self.accept_again(number)?;
        if is_pull {
            self.retries.push((user, now));
        }
        Ok(number)
    }

    /// Accepts a job anew, if it can be.
    pub(super) fn accept_again(&mut self, number: usize) -> Result<(), UserErrorCode> {
        let (user, host, tag) = {
            let job = &self.jobs[number];
            (job.user, job.host, job.tag)
        };
        match self.jobs[number].does {
            Does::Pull if self.public_of(host, tag).is_some() => {}
            Does::Pull => {
                if self.available(user) < MINIMUM {
                    return Err(UserErrorCode::InsufficientCredits);
                }
                self.jobs[number].held = MINIMUM;
            }
            Does::Remove(holding) => {
                let held = self.holdings[holding].state == ImageState::Held;
                if !held || self.live_removal_of(holding).is_some() {
                    return Err(UserErrorCode::JobNotRetryable);
                }
            }
        }
        let ordinal = self.next_ordinal();
        let job = &mut self.jobs[number];
        job.ordinal = ordinal;
        job.state = JobState::Queued;
        job.error = None;
        job.max_attempts = job.attempt + i32::from(ATTEMPTS);
        job.discarded = false;
        job.refused = 0;
        Ok(())
    }

    /// The job of this id.
    pub(crate) fn job_of(&self, id: Uuid) -> Option<usize> {
        self.jobs.iter().position(|job| job.id == Some(id))
    }

    /// The holding of this id.
    pub(crate) fn holding_with(&self, id: Uuid) -> Option<usize> {
        self.holdings
            .iter()
            .position(|holding| holding.id == Some(id))
    }

    /// Whether an image of this id is held.
    pub(crate) fn holds(&self, image: Uuid) -> bool {
        let holding = self.holding_with(image);
        holding.is_some_and(|number| self.holdings[number].state == ImageState::Held)
    }

    fn own_job(&self, user: usize, job: Option<usize>) -> Answer {
        job.filter(|job| self.jobs[*job].user == user)
            .ok_or(UserErrorCode::JobNotFound)
    }

    pub(super) fn live_removal_of(&self, holding: usize) -> Option<usize> {
        self.jobs
            .iter()
            .position(|job| job.does == Does::Remove(holding) && !job.state.is_final())
    }

    /// The user's pulls of the last hour, and those that they tried again.
    pub(crate) fn pulls_lately(&self, user: usize, now: i64) -> usize {
        let again = |(who, at): &&(usize, i64)| *who == user && *at > now - HOUR;
        let retries = self.retries.iter().filter(again).count();
        let lately = self.jobs.iter().filter(|job| {
            job.user == user && job.does == Does::Pull && job.created_at > now - HOUR
        });
        lately.count() + retries
    }

    fn within_limits(&self, user: usize, now: i64) -> Result<(), UserErrorCode> {
        let live = self.live_jobs(user).count();
        if live >= LIVE_JOBS.into() || self.pulls_lately(user, now) >= PULLS_AN_HOUR.into() {
            return Err(UserErrorCode::TooManyJobs);
        }
        Ok(())
    }

    pub(super) fn accepted(
        &mut self,
        user: usize,
        host: usize,
        tag: usize,
        does: Does,
        now: i64,
    ) -> usize {
        self.jobs.push(Job {
            id: None,
            user,
            host,
            tag,
            does,
            state: JobState::Queued,
            error: None,
            held: 0,
            attempt: 0,
            max_attempts: ATTEMPTS.into(),
            created_at: now,
            means: None,
            ordinal: 0,
            discarded: false,
            refused: 0,
        });
        let job = self.jobs.len() - 1;
        self.jobs[job].ordinal = self.next_ordinal();
        job
    }

    fn next_ordinal(&self) -> usize {
        let last = self.jobs.iter().map(|job| job.ordinal).max();
        last.unwrap_or(0) + 1
    }

    pub(super) fn earlier(
        &self,
        (user, of): (usize, Asked),
        key: Option<u8>,
        asked: usize,
    ) -> Option<Answer> {
        let (before, job) = self.keys.get(&(user, of, key?))?;
        if *before == asked {
            Some(Ok(*job))
        } else {
            Some(Err(UserErrorCode::IdempotencyConflict))
        }
    }

    pub(super) fn remember(
        &mut self,
        (user, of): (usize, Asked),
        key: Option<u8>,
        asked: usize,
        job: usize,
    ) {
        if let Some(key) = key {
            self.keys.insert((user, of, key), (asked, job));
        }
    }
}
