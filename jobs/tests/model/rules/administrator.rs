//! What an administrator does.

use wharfinger_entity::{ImageState, JobState};
use wharfinger_jobs::error::UserErrorCode;

use super::super::scene::{ADMIN, EVERYONE};
use super::{Answer, Asked, Does, Holding, Model};

/// What came of a redrive of one dead letter: none where there was none, or the job, with why it was refused.
pub(crate) type Redriven = Option<(usize, Option<UserErrorCode>)>;

impl Model {
    /// `setImageVisibility` of an image, to PUBLIC.
    pub(crate) fn set_public(&mut self, holding: Option<usize>) -> Result<(), UserErrorCode> {
        let number = holding.ok_or(UserErrorCode::ImageNotFound)?;
        let Holding {
            host,
            tag,
            image,
            edition,
            state,
            ..
        } = self.holdings[number];
        if self.is_public(host, image) {
            return Ok(());
        }
        if state != ImageState::Held {
            return Err(UserErrorCode::ImageNotFound);
        }
        self.publish(host, tag, image, edition);
        Ok(())
    }

    /// Makes an image everyone's by a tag: everybody gets back what they paid, and what they asked to let go of is let go
    /// of. Returns the image that was public by the tag before.
    pub(super) fn publish(
        &mut self,
        host: usize,
        tag: usize,
        image: usize,
        edition: u32,
    ) -> Option<usize> {
        let private: Vec<usize> = self
            .holders(host, image)
            .filter(|(_, holding)| holding.user != EVERYONE)
            .map(|(number, _)| number)
            .collect();
        for job in 0..self.jobs.len() {
            let is_of = |holding: &usize| self.jobs[job].does == Does::Remove(*holding);
            if !self.jobs[job].state.is_final() && private.iter().any(is_of) {
                self.end_job(job, JobState::Succeeded, None);
            }
        }
        for holding in private {
            self.end_holding(holding, ImageState::Released);
        }
        let replaced = self.public_of(host, tag);
        if let Some(old) = replaced {
            self.end_holding(old, ImageState::Released);
        }
        self.holdings.push(Holding {
            id: None,
            user: EVERYONE,
            host,
            tag,
            image,
            edition,
            charge: 0,
            state: ImageState::Held,
        });
        replaced.map(|old| self.holdings[old].image)
    }

    /// `grantCredits`
    pub(crate) fn grant(
        &mut self,
        user: usize,
        amount: i64,
        key: Option<u8>,
    ) -> Result<(), UserErrorCode> {
        if amount == 0 {
            return Err(UserErrorCode::InvalidAmount);
        }
        let asked = usize::try_from(amount.unsigned_abs()).unwrap() * 100
            + user * 2
            + usize::from(amount < 0);
        if let Some(earlier) = self.earlier((ADMIN, Asked::Grant), key, asked) {
            return earlier.map(|_| ());
        }
        if self.available(user) + amount < 0 {
            return Err(UserErrorCode::InsufficientCredits);
        }
        self.ledgers[user].push(amount);
        self.remember((ADMIN, Asked::Grant), key, asked, 0);
        Ok(())
    }

    /// The private holdings of a host that no container uses: what a sweep asks to let go of.
    pub(crate) fn to_sweep(&self, host: usize) -> Vec<usize> {
        let swept = |holding: &Holding| {
            holding.state == ImageState::Held
                && holding.user != EVERYONE
                && holding.host == host
                && !self.hosts[host].used.contains(&holding.image)
        };
        (0..self.holdings.len())
            .filter(|number| swept(&self.holdings[*number]))
            .collect()
    }

    /// The removal of a holding that a sweep asks for.
    pub(crate) fn sweep_one(&mut self, holding: usize, now: i64) -> usize {
        let Holding {
            user, host, tag, ..
        } = self.holdings[holding];
        self.live_removal_of(holding)
            .unwrap_or_else(|| self.accepted(user, host, tag, Does::Remove(holding), now))
    }

    /// `retryDeadJobs` of one dead letter of a host.
    pub(crate) fn redrive(&mut self, host: usize) -> Redriven {
        let mut letters: Vec<usize> = (0..self.jobs.len())
            .filter(|number| {
                let job = &self.jobs[*number];
                (job.host, job.state, job.discarded) == (host, JobState::Dead, false)
            })
            .collect();
        // Those that were refused come last, the longest ago first.
        letters.sort_by_key(|number| (self.jobs[*number].refused, *number));
        let mut first_refused = None;
        for number in letters {
            let refused = if self.banned.contains(&self.jobs[number].user) {
                Some(UserErrorCode::JobNotRetryable)
            } else {
                self.accept_again(number).err()
            };
            if refused.is_none() {
                return Some((number, None));
            }
            self.refusals += 1;
            self.jobs[number].refused = self.refusals;
            first_refused = first_refused.or(Some((number, refused)));
        }
        first_refused
    }

    /// `discardJob`
    pub(crate) fn discard(&mut self, job: Option<usize>) -> Answer {
        let number = job.ok_or(UserErrorCode::JobNotFound)?;
        if self.jobs[number].state != JobState::Dead {
            return Err(UserErrorCode::InvalidInput);
        }
        self.jobs[number].discarded = true;
        Ok(number)
    }
}
