//! Several things at once: whatever comes must be what would have come of them in some order.

use wharfinger_entity::JobState;

use super::*;
use crate::model::operation::Item;
use crate::model::scene::{BUSY, LIVE_JOBS, PULLS_AN_HOUR};

/// An item with what it is about.
#[derive(Clone, Copy, Debug)]
enum Action {
    Pull { user: usize, tag: usize },
    PullAndCancel { user: usize, tag: usize },
    Remove { user: usize, image: Uuid },
    Restart,
}

impl Action {
    /// Whether both let go of one image.
    fn removes_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remove { image, .. }, Self::Remove { image: same, .. }) => image == same,
            _ => false,
        }
    }
}

impl Run {
    pub(super) async fn at_once(&mut self, items: &[Item]) -> Result<(), String> {
        let actions: Vec<Action> = items.iter().filter_map(|item| self.action(item)).collect();
        let now = self.world.services.clock.now().micros();
        let beside_a_pull = actions
            .iter()
            .any(|action| matches!(action, Action::Pull { .. } | Action::PullAndCancel { .. }));
        let mut possible: Vec<Model> = Vec::new();
        for model in &self.models {
            for order in orders(&actions) {
                for end in ends(model, &order, now, beside_a_pull) {
                    if !possible.contains(&end) {
                        possible.push(end);
                    }
                }
            }
        }
        self.models = possible;
        let restarts = actions
            .iter()
            .any(|action| matches!(action, Action::Restart));
        let world = &self.world;
        let acting = futures::future::join_all(actions.iter().map(|action| act(world, *action)));
        let acted = acting.await;
        for (action, made) in actions.iter().zip(acted) {
            match (action, made?) {
                (_, Some(job)) if !self.jobs.contains(&job) => self.jobs.push(job),
                // Refused is who comes when the image is let go of, and nobody else.
                (Action::Remove { image, .. }, None) => {
                    self.models.retain(|model| !model.holds(*image));
                }
                _ => {}
            }
        }
        if self.models.is_empty() {
            return Err("a removal was refused although its image is held".to_owned());
        }
        if restarts {
            self.world.stop_worker(BUSY).await;
            self.world.start_worker(BUSY).await;
        }
        Ok(())
    }

    /// What an item is about now; none where there is nothing, or where the user's limits might be met.
    fn action(&self, item: &Item) -> Option<Action> {
        let now = self.world.services.clock.now().micros();
        let model = &self.models[0];
        let free = |user: usize| {
            !model.banned.contains(&user)
                && !model.hosts[BUSY].drained
                && model.pulls_lately(user, now) + 4 <= PULLS_AN_HOUR.into()
                && model.live_jobs(user).count() + 4 <= LIVE_JOBS.into()
        };
        match *item {
            Item::Pull { user, tag } => free(user).then_some(Action::Pull { user, tag }),
            Item::PullAndCancel { user, tag } => {
                free(user).then_some(Action::PullAndCancel { user, tag })
            }
            Item::Remove { user, .. } if model.banned.contains(&user) => None,
            Item::Remove { user, pick } => one_of(self.held_by(user, Some(BUSY)), pick)
                .map(|image| Action::Remove { user, image }),
            Item::Restart => Some(Action::Restart),
        }
    }
}

/// Does it for real. Returns the job that came of it; being late is no error.
async fn act(world: &World, action: Action) -> Result<Option<Uuid>, String> {
    let services = &world.services;
    let (user, tag, cancels) = match action {
        Action::Restart => return Ok(None),
        Action::Remove { user, image } => {
            let request = RemoveImage {
                user_id: world.users[user],
                image_id: Some(image),
                idempotency_key: None,
                traceparent: None,
            };
            return late(remove_image::accept(services, &request).await);
        }
        Action::Pull { user, tag } => (user, tag, false),
        Action::PullAndCancel { user, tag } => (user, tag, true),
    };
    let request = world.request(user, BUSY, tag);
    let job = late(pull_image::accept(services, &request).await)?;
    if cancels {
        late(cancel_job(services, Some(request.user_id), job).await)?;
    }
    Ok(job)
}

fn late(
    answer: Result<wharfinger_entity::job::Model, ServiceError>,
) -> Result<Option<Uuid>, String> {
    match answer {
        Ok(job) => Ok(Some(job.id)),
        Err(ServiceError::Rejected(error))
            if matches!(
                error.code,
                UserErrorCode::NotRemovable | UserErrorCode::JobNotCancellable
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(format!("failed: {error:?}")),
    }
}

/// Every model that may come of doing these in this order.
fn ends(model: &Model, order: &[Action], now: i64, beside_a_pull: bool) -> Vec<Model> {
    let mut ends = vec![model.clone()];
    for (number, action) in order.iter().enumerate() {
        // A removal joins one of the same image that has not ended yet, which is seen only where that fails.
        let joins = order[..number]
            .iter()
            .any(|before| before.removes_as(action));
        ends = ends
            .into_iter()
            .flat_map(|model| {
                let joined = joins.then(|| model.clone());
                let mut ends = after(model, *action, now, beside_a_pull);
                ends.extend(joined);
                ends
            })
            .collect();
    }
    for model in &mut ends {
        for action in order {
            if let Action::Remove { image, .. } = action
                && let Some(holding) = model.holding_with(*image)
            {
                model.tidy(BUSY, model.holdings[holding].image);
            }
        }
    }
    ends
}

fn after(mut model: Model, action: Action, now: i64, beside_a_pull: bool) -> Vec<Model> {
    match action {
        Action::Restart => model.reconcile(BUSY),
        Action::Remove { user, image } => {
            let holding = model.holding_with(image);
            if let Ok(job) = model.remove(user, holding, None, now) {
                let mut left = model.clone();
                model.run(job, Faults::default());
                // A pull that is about to bring the image keeps it there, and with it its last name.
                if beside_a_pull {
                    left.run_without_engine(job);
                    return vec![left, model];
                }
            }
        }
        Action::Pull { user, tag } => {
            if let Ok(job) = model.pull((user, BUSY, tag), None, now) {
                model.run(job, Faults::default());
            }
        }
        Action::PullAndCancel { user, tag } => {
            if let Ok(job) = model.pull((user, BUSY, tag), None, now) {
                // Public, and there already.
                if model.jobs[job].state.is_final() {
                    return vec![model];
                }
                let mut unread = model.clone();
                unread.end_job(job, JobState::Cancelled, None);
                let mut stopped = model.clone();
                stopped.cancel_in_the_middle(job);
                model.run(job, Faults::default());
                return vec![unread, stopped, model];
            }
        }
    }
    vec![model]
}

/// Every order of these.
fn orders(of: &[Action]) -> Vec<Vec<Action>> {
    let Some((first, rest)) = of.split_first() else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut order = order.clone();
            order.insert(place, *first);
            all.push(order);
        }
    }
    all
}
