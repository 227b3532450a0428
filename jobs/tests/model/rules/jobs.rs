//! What comes of an accepted job.

use wharfinger_entity::{ImageState, JobErrorCode, JobState};

use super::super::operation::Fault;
use super::super::scene::{ADMIN, IMAGES};
use super::engine::Fate;
use super::{Does, Holding, Job, Model, Name};

/// What goes wrong on the way, and how often it still will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    denied: bool,
    registry_down: u32,
    disk_full: u32,
    cut_off: u32,
    deletions: u32,
}

impl Faults {
    /// Those of a pull.
    pub(crate) fn of(fault: Option<Fault>) -> Self {
        let mut faults = Self::default();
        match fault {
            None => {}
            Some(Fault::Denied) => faults.denied = true,
            Some(Fault::RegistryDown(times)) => faults.registry_down = times,
            Some(Fault::DiskFull(times)) => faults.disk_full = times,
            Some(Fault::CutOff(times)) => faults.cut_off = times,
        }
        faults
    }

    /// The engine's first deletion fails.
    pub(crate) fn of_removal() -> Self {
        Self {
            deletions: 1,
            ..Self::default()
        }
    }
}

fn takes_place(times: &mut u32) -> bool {
    let left = *times > 0;
    *times -= u32::from(left);
    left
}

/// How an attempt ended.
enum End {
    Done,
    Fail(JobErrorCode),
    Retry(JobErrorCode),
}

impl Model {
    /// Runs a job to its end.
    pub(crate) fn run(&mut self, job: usize, mut faults: Faults) {
        while !self.jobs[job].state.is_final() {
            self.attempt(job, &mut faults);
        }
    }

    /// Runs one attempt of a job.
    pub(crate) fn attempt(&mut self, number: usize, faults: &mut Faults) {
        let job = &mut self.jobs[number];
        job.attempt += 1;
        job.max_attempts = job.max_attempts.max(job.attempt);
        job.error = None;
        let end = match job.does {
            Does::Pull => self.attempt_pull(number, faults),
            Does::Remove(holding) => self.attempt_removal(number, holding, faults),
        };
        let job = &mut self.jobs[number];
        match end {
            End::Done => self.end_job(number, JobState::Succeeded, None),
            End::Fail(code) => self.end_job(number, JobState::Failed, Some(code)),
            End::Retry(code) if job.attempt >= job.max_attempts => {
                self.end_job(number, JobState::Dead, Some(code));
            }
            End::Retry(code) => {
                job.state = JobState::Retrying;
                job.error = Some(code);
            }
        }
        if self.jobs[number].state.is_final() {
            self.clear_up(number);
        }
    }

    /// What a pull that ended leaves on the engine: nothing that it set or brought in vain.
    fn clear_up(&mut self, number: usize) {
        let Job {
            host,
            tag,
            does,
            state,
            means,
            ..
        } = self.jobs[number];
        if does != Does::Pull {
            return;
        }
        if state != JobState::Succeeded {
            for image in self.hosts[host].displaced_on(tag) {
                self.put_back(host, image);
            }
        }
        if let Some(image) = means {
            self.tidy(host, image);
        }
    }

    /// A removal that finds the image wanted by somebody else leaves the engine as it is.
    pub(crate) fn run_without_engine(&mut self, number: usize) {
        if let Does::Remove(holding) = self.jobs[number].does
            && !self.jobs[number].state.is_final()
        {
            self.jobs[number].attempt += 1;
            self.end_holding(holding, ImageState::Released);
            self.end_job(number, JobState::Succeeded, None);
        }
    }

    pub(crate) fn end_job(&mut self, number: usize, state: JobState, error: Option<JobErrorCode>) {
        let job = &mut self.jobs[number];
        job.state = state;
        job.error = error;
        job.held = 0;
    }

    /// A pull that somebody stops after its manifest was read, if it gets so far.
    pub(crate) fn cancel_in_the_middle(&mut self, number: usize) {
        let mut stopped = self.clone();
        if stopped.read(number).is_err() {
            return self.run(number, Faults::default());
        }
        *self = stopped;
        self.jobs[number].attempt += 1;
        self.end_job(number, JobState::Cancelled, None);
        self.clear_up(number);
    }

    /// A pull of what everyone may use: there is nothing to pay and nothing to hold. What its user held by the same tag
    /// from before is let go of.
    pub(super) fn use_public(&mut self, number: usize, public: usize) {
        let job = &mut self.jobs[number];
        job.held = 0;
        job.means = Some(self.holdings[public].image);
        let (user, host, tag) = (job.user, job.host, job.tag);
        if let Some(old) = self.holding_of(user, host, tag) {
            self.end_holding(old, ImageState::Released);
        }
    }

    fn attempt_pull(&mut self, number: usize, faults: &mut Faults) -> End {
        let job = &self.jobs[number];
        if job.user != ADMIN
            && let Some(public) = self.public_of(job.host, job.tag)
        {
            self.use_public(number, public);
            return End::Done;
        }
        if std::mem::take(&mut faults.denied) {
            return End::Fail(JobErrorCode::RegistryDenied);
        }
        if takes_place(&mut faults.registry_down) {
            return End::Retry(JobErrorCode::RegistryUnavailable);
        }
        let (image, edition) = match self.read(number) {
            Ok(found) => found,
            Err(code) => return End::Fail(code),
        };
        if takes_place(&mut faults.disk_full) {
            return End::Retry(JobErrorCode::DiskFull);
        }
        if takes_place(&mut faults.cut_off) {
            return End::Retry(JobErrorCode::RegistryUnavailable);
        }
        let (host, tag) = (self.jobs[number].host, self.jobs[number].tag);
        self.hosts[host].images.entry(image).or_insert(true);
        self.hosts[host].expected.remove(&image);
        self.hosts[host].names.insert(Name::Tag(tag), image);
        if self.settle(number, image, edition) {
            self.tag_settled(host, tag, image);
            return End::Done;
        }
        End::Fail(JobErrorCode::InsufficientCredits)
    }

    /// Reads the manifest and moves the hold. Returns the image and edition that the tag means.
    pub(crate) fn read(&mut self, number: usize) -> Result<(usize, u32), JobErrorCode> {
        let job = &self.jobs[number];
        let (user, host, tag) = (job.user, job.host, job.tag);
        let found = self.registry.get(&tag).copied();
        let (image, edition) = found.ok_or(JobErrorCode::ImageNotFound)?;
        let engine = &mut self.hosts[host];
        let means = engine.names.get(&Name::Tag(tag)).copied();
        if means != Some(image) {
            let earlier = means.and_then(|means| engine.displaced.get(&(tag, means)));
            let displaced = earlier.copied().unwrap_or(means);
            // Where other pulls found it on this very image, it comes back to where it was.
            if displaced != Some(image) {
                engine.ours.insert((tag, image));
                engine.displaced.insert((tag, image), displaced);
            }
        }
        if !engine.images.contains_key(&image) {
            engine.expected.insert(image);
        }
        let (expected, least) = self.cost(user, host, tag, image);
        let most = self.jobs[number].held + self.available(user);
        if least > most {
            return Err(JobErrorCode::InsufficientCredits);
        }
        let job = &mut self.jobs[number];
        job.held = expected.clamp(0, most);
        job.means = Some(image);
        Ok((image, edition))
    }

    /// What a pull is expected to cost, and what it costs at least, less what it gives back.
    fn cost(&self, user: usize, host: usize, tag: usize, image: usize) -> (i64, i64) {
        let refreshes = user == ADMIN && self.public_of(host, tag).is_some();
        let paid = self.payments.contains_key(&(user, host, image));
        if refreshes || paid || self.is_public(host, image) {
            return (0, 0);
        }
        let back = self.gives_back(user, host, tag, image);
        let (_, compressed) = IMAGES[image];
        let compressed = i64::try_from(compressed).unwrap();
        (
            compressed * 5 / 2 - back,
            (compressed * 99).div_euclid(100) - back,
        )
    }

    /// What letting go of what the tag meant for this user gives back.
    fn gives_back(&self, user: usize, host: usize, tag: usize, image: usize) -> i64 {
        let Some(old) = self.holding_of(user, host, tag) else {
            return 0;
        };
        let of = self.holdings[old].image;
        let others = self
            .holders(host, of)
            .filter(|(number, holding)| *number != old && holding.user == user);
        if of == image || others.count() > 0 {
            return 0;
        }
        self.payments.get(&(user, host, of)).copied().unwrap_or(0)
    }

    /// Charges and makes the holding. False, with nothing changed, when it is too expensive.
    fn settle(&mut self, number: usize, image: usize, edition: u32) -> bool {
        let job = &self.jobs[number];
        let (user, host, tag) = (job.user, job.host, job.tag);
        let mut let_go = Vec::new();
        // What an administrator pulls again is everyone's.
        if user == ADMIN
            && let Some(old) = self.public_of(host, tag)
        {
            if self.holdings[old].image == image {
                self.holdings[old].edition = edition;
            } else {
                let_go.extend(self.publish(host, tag, image, edition));
            }
        }
        let public = self.is_public(host, image);
        let old = self.holding_of(user, host, tag);
        if let Some(old) = old.filter(|old| !public && self.holdings[*old].image == image) {
            self.holdings[old].edition = edition;
            return true;
        }
        let pays = !public && !self.payments.contains_key(&(user, host, image));
        let size = i64::try_from(IMAGES[image].0).unwrap();
        let charge = if pays { size } else { 0 };
        let back = self.gives_back(user, host, tag, image);
        if charge > self.available(user) + self.jobs[number].held + back {
            return false;
        }
        self.jobs[number].held = 0;
        if let Some(old) = old {
            self.end_holding(old, ImageState::Released);
            let_go.push(self.holdings[old].image);
        }
        if pays {
            self.payments.insert((user, host, image), charge);
            self.ledgers[user].push(-charge);
        }
        if !public {
            self.holdings.push(Holding {
                id: None,
                user,
                host,
                tag,
                image,
                edition,
                charge,
                state: ImageState::Held,
            });
        }
        // Not about this image any more than about what the tag meant: both are looked at.
        self.jobs[number].state = JobState::Succeeded;
        for image in let_go {
            self.tidy(host, image);
        }
        true
    }

    /// A pull's tag is where it belongs, and it is here that it goes back from wherever other pulls may have set it.
    fn tag_settled(&mut self, host: usize, tag: usize, image: usize) {
        self.hosts[host].displaced.remove(&(tag, image));
        for other in self.hosts[host].displaced_on(tag) {
            self.hosts[host].displaced.insert((tag, other), Some(image));
            self.tidy(host, other);
        }
    }

    /// The tags that pulls set on an image in vain mean again what they meant; one that meant nothing goes, unless somebody
    /// holds the image by it.
    pub(super) fn put_back(&mut self, host: usize, image: usize) {
        for (tag, before) in self.hosts[host].displaced_from(image) {
            let under_way = self.jobs.iter().any(|job| {
                job.does == Does::Pull
                    && !job.state.is_final()
                    && (job.host, job.tag, job.means) == (host, tag, Some(image))
            });
            if under_way {
                continue;
            }
            let held = self
                .holders(host, image)
                .any(|(_, holding)| holding.tag == tag);
            let engine = &mut self.hosts[host];
            engine.displaced.remove(&(tag, image));
            match before.filter(|before| engine.images.contains_key(before)) {
                Some(before) if engine.names.get(&Name::Tag(tag)) == Some(&image) => {
                    engine.names.insert(Name::Tag(tag), before);
                }
                None if !held => engine.take_tag(tag, image),
                _ => {}
            }
        }
    }

    fn attempt_removal(&mut self, number: usize, holding: usize, faults: &mut Faults) -> End {
        let Holding {
            host,
            tag,
            image,
            state,
            ..
        } = self.holdings[holding];
        if state != ImageState::Held {
            return End::Done;
        }
        self.put_back(host, image);
        let others: Vec<usize> = self
            .holders(host, image)
            .filter(|(other, _)| *other != holding)
            .map(|(_, other)| other.tag)
            .collect();
        let brought = self.hosts[host].images.get(&image) == Some(&true);
        if brought && others.is_empty() && !self.is_meant(host, image, Some(number)) {
            match self.hosts[host].clone().take_off(image) {
                Fate::InUse => return End::Fail(JobErrorCode::ImageInUse),
                Fate::Gone if takes_place(&mut faults.deletions) => {
                    return End::Retry(JobErrorCode::Internal);
                }
                Fate::Gone | Fate::Foreign => self.hosts[host].take_off(image),
            };
        } else if !others.contains(&tag) {
            self.hosts[host].take_tag(tag, image);
        }
        self.end_holding(holding, ImageState::Released);
        End::Done
    }
}
