//! The open connections of this process, and their ends: a revoked or expired token, a ban, another role.
//!
//! A function that takes a right away commits first and announces the user then. Each gateway looks the user's connections up in
//! the database; it looks up all of them where announcements may have been missed, and from time to time, so that no
//! connection outlives its token, even without Redis.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;
use wharfinger_entity::{Role, Timestamp, UserStatus, api_token, user};

use super::Authenticated;
use crate::infra::tasks::{NeededBy, Task};
use crate::live::events::{Event, Topic};
use crate::services::Services;

/// Time between two checks of all connections; also the delay after which an expired token may be noticed.
const PERIOD: Duration = Duration::from_secs(10);

/// How long it may take to look at all of them.
const STILL: Duration = Duration::from_mins(1);

/// How many tokens one statement asks for.
const CHUNK: usize = 500;

/// The open connections of this process. Cheap to clone; it stops watching with the last clone.
#[derive(Clone)]
pub struct Sessions {
    registry: Arc<Registry>,
    _stop_on_drop: Arc<DropGuard>,
}

#[derive(Default)]
struct Registry(Mutex<HashMap<Uuid, Connections>>);

/// The open connections of one user.
#[derive(Default)]
struct Connections {
    open: usize,
    /// By token and role; gone with the last of the connections that it let in.
    grants: HashMap<(Uuid, Role), Weak<Grant>>,
}

/// The common state of all connections of one token that were opened while its user had one role.
struct Grant {
    token_id: Uuid,
    user_id: Uuid,
    role: Role,
    revoked: CancellationToken,
    demoted: CancellationToken,
}

/// A connection that was let in. It leaves the list when this is dropped.
pub struct OpenSession {
    grant: Arc<Grant>,
    registry: Arc<Registry>,
}

impl OpenSession {
    /// Cancelled when the token is not valid any more.
    pub fn revoked(&self) -> &CancellationToken {
        &self.grant.revoked
    }

    /// The role that the user had when the connection was opened.
    pub fn role(&self) -> Role {
        self.grant.role
    }

    /// Cancelled when the user loses rights, and when an operation finds the user in another role than when the connection was
    /// opened.
    pub fn demoted(&self) -> &CancellationToken {
        &self.grant.demoted
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut users = self.registry.lock();
        let Entry::Occupied(mut user) = users.entry(self.grant.user_id) else {
            return;
        };
        user.get_mut().open -= 1;
        if user.get().open == 0 {
            user.remove();
        }
    }
}

impl Sessions {
    /// Watches the connections that will be opened. Call it inside a Tokio runtime.
    pub fn start(services: &Services) -> Self {
        let registry = Arc::new(Registry::default());
        let stop = CancellationToken::new();
        // Without it, what is revoked stays open.
        let task = services.tasks.looping("sessions", NeededBy::All, STILL);
        let watch = watch(services.clone(), Arc::clone(&registry), task.clone());
        tokio::spawn(task.until(stop.clone(), watch));
        Self {
            registry,
            _stop_on_drop: Arc::new(stop.drop_guard()),
        }
    }

    /// Notes an open connection. The caller has to look the token up once more afterwards: an announcement before this did
    /// not reach the connection.
    pub fn open(&self, caller: &Authenticated) -> OpenSession {
        self.note(&mut self.registry.lock(), caller)
    }

    /// The same, unless the user has `at_most` open already; 0 is no limit.
    pub fn open_within(&self, caller: &Authenticated, at_most: usize) -> Option<OpenSession> {
        let mut users = self.registry.lock();
        let room = has_room(&users, caller.user.id, at_most);
        room.then(|| self.note(&mut users, caller))
    }

    /// Whether a user has less than `at_most` open; 0 is no limit.
    pub fn has_room(&self, user_id: Uuid, at_most: usize) -> bool {
        has_room(&self.registry.lock(), user_id, at_most)
    }

    fn note(&self, users: &mut HashMap<Uuid, Connections>, caller: &Authenticated) -> OpenSession {
        let (user_id, token_id, role) = (caller.user.id, caller.token.id, caller.user.role);
        let connections = users.entry(user_id).or_default();
        connections.open += 1;
        let grants = &mut connections.grants;
        let listed = grants.get(&(token_id, role)).and_then(Weak::upgrade);
        // One that was ended may come back, as another: a user is banned and then not.
        let listed =
            listed.filter(|grant| !grant.revoked.is_cancelled() && !grant.demoted.is_cancelled());
        let grant = listed.unwrap_or_else(|| {
            let grant = Arc::new(Grant {
                token_id,
                user_id,
                role,
                revoked: CancellationToken::new(),
                demoted: CancellationToken::new(),
            });
            grants.retain(|_, grant| grant.strong_count() > 0);
            grants.insert((token_id, role), Arc::downgrade(&grant));
            grant
        });
        OpenSession {
            grant,
            registry: Arc::clone(&self.registry),
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        let users = self.registry.lock();
        users.values().map(|connections| connections.open).sum()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn has_room(users: &HashMap<Uuid, Connections>, user_id: Uuid, at_most: usize) -> bool {
    let open = users.get(&user_id);
    at_most == 0 || open.map_or(0, |connections| connections.open) < at_most
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Connections>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The grants of the connections of one user, or of all.
    fn of(&self, user: Option<Uuid>) -> Vec<Arc<Grant>> {
        let users = self.lock();
        users
            .iter()
            .filter(|(id, _)| user.is_none_or(|user| user == **id))
            .flat_map(|(_, connections)| connections.grants.values())
            .filter_map(Weak::upgrade)
            .collect()
    }
}

async fn watch(services: Services, registry: Arc<Registry>, task: Task) {
    let mut changes = services.events.subscribe(Topic::Access);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        task.passed();
        let user = tokio::select! {
            event = changes.next() => match event {
                // An unreadable announcement may be about any user.
                Some(Event::Message(payload)) => serde_json::from_slice(&payload).ok(),
                Some(Event::Gap) => None,
                None => std::future::pending().await,
            },
            _ = ticks.tick() => None,
        };
        if let Err(error) = look(&services, &registry.of(user)).await {
            tracing::warn!(%error, "could not look at the tokens of open connections: trying again");
            ticks.reset_after(Duration::from_secs(1));
        }
    }
}

/// Ends the connections of those that give no right any more.
async fn look(services: &Services, open: &[Arc<Grant>]) -> Result<(), DbErr> {
    for chunk in open.chunks(CHUNK) {
        let now = services.clock.now();
        let found: HashMap<Uuid, (api_token::Model, Option<user::Model>)> =
            api_token::Entity::find()
                .find_also_related(user::Entity)
                .filter(api_token::Column::Id.is_in(chunk.iter().map(|grant| grant.token_id)))
                .all(services.db.read())
                .await?
                .into_iter()
                .map(|found| (found.0.id, found))
                .collect();
        for grant in chunk {
            match found.get(&grant.token_id) {
                Some((token, Some(user))) if is_good(token, user, now) => {
                    if grant.role == Role::Admin && user.role != Role::Admin {
                        grant.demoted.cancel();
                    }
                }
                _ => grant.revoked.cancel(),
            }
        }
    }
    Ok(())
}

fn is_good(token: &api_token::Model, user: &user::Model, now: Timestamp) -> bool {
    user.status == UserStatus::Active && token.expires_at.is_none_or(|end| end > now)
}
