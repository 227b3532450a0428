//! The connections of this process that stay open, and what ends them: a revoked or expired token, a ban, another role.
//!
//! Whoever takes a right away commits first and announces the user then. Each gateway looks the user's connections up in
//! the database; it looks up all of them where announcements may have been missed, and from time to time, so that nothing
//! outlives its token whatever happens to Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use wharfinger_entity::{Role, Timestamp, UserStatus, api_token, user};

use super::Authenticated;
use crate::events::{Event, Topic};
use crate::services::Services;

/// How often all are looked at without an announcement; also how late the end of a token may be noticed.
const PERIOD: Duration = Duration::from_secs(10);

/// How many tokens one statement asks for.
const CHUNK: usize = 500;

/// The open connections of this process. Cheap to clone; it stops watching with the last clone.
#[derive(Clone)]
pub struct Sessions {
    registry: Arc<Registry>,
    _watch: Arc<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Registry(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    newest: u64,
    open: HashMap<u64, Entry>,
}

#[derive(Clone)]
struct Entry {
    user_id: Uuid,
    token_id: Uuid,
    role: Role,
    revoked: CancellationToken,
    demoted: CancellationToken,
}

/// A connection that was let in. It leaves the list when this is dropped.
pub struct OpenSession {
    number: u64,
    registry: Arc<Registry>,
    /// Cancelled when the token is good for nothing any more.
    pub revoked: CancellationToken,
    /// Cancelled when the user may do less than when the connection was opened.
    pub demoted: CancellationToken,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.number);
    }
}

impl Sessions {
    /// Watches the connections that will be opened. Call it inside a Tokio runtime.
    pub fn start(services: &Services) -> Self {
        let registry = Arc::new(Registry::default());
        let watch = tokio::spawn(watch(services.clone(), Arc::clone(&registry)));
        Self {
            registry,
            _watch: Arc::new(AbortOnDropHandle::new(watch)),
        }
    }

    /// Notes an open connection. Its token has to be looked at once more afterwards: what was announced in between
    /// concerned nobody yet.
    pub fn open(&self, caller: &Authenticated) -> OpenSession {
        let entry = Entry {
            user_id: caller.user.id,
            token_id: caller.token.id,
            role: caller.user.role,
            revoked: CancellationToken::new(),
            demoted: CancellationToken::new(),
        };
        let mut entries = self.registry.lock();
        entries.newest += 1;
        let number = entries.newest;
        let session = OpenSession {
            number,
            registry: Arc::clone(&self.registry),
            revoked: entry.revoked.clone(),
            demoted: entry.demoted.clone(),
        };
        entries.open.insert(number, entry);
        session
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.registry.lock().open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections of one user, or all.
    fn of(&self, user: Option<Uuid>) -> Vec<Entry> {
        let entries = self.lock();
        let open = entries.open.values();
        open.filter(|entry| user.is_none_or(|user| entry.user_id == user))
            .cloned()
            .collect()
    }
}

async fn watch(services: Services, registry: Arc<Registry>) {
    let mut changes = services.events.subscribe(Topic::Access);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let user = tokio::select! {
            event = changes.next() => match event {
                // What cannot be read is about somebody.
                Some(Event::Message(payload)) => serde_json::from_slice(&payload).ok(),
                Some(Event::Gap) => None,
                None => return,
            },
            _ = ticks.tick() => None,
        };
        if let Err(error) = look(&services, &registry.of(user)).await {
            tracing::warn!(%error, "could not look at the tokens of open connections: trying again");
            ticks.reset_after(Duration::from_secs(1));
        }
    }
}

/// Ends those that have no right to be open.
async fn look(services: &Services, open: &[Entry]) -> Result<(), DbErr> {
    for chunk in open.chunks(CHUNK) {
        let now = services.clock.now();
        let found: HashMap<Uuid, (api_token::Model, Option<user::Model>)> =
            api_token::Entity::find()
                .find_also_related(user::Entity)
                .filter(api_token::Column::Id.is_in(chunk.iter().map(|entry| entry.token_id)))
                .all(services.db.read())
                .await?
                .into_iter()
                .map(|found| (found.0.id, found))
                .collect();
        for entry in chunk {
            match found.get(&entry.token_id) {
                Some((token, Some(user))) if is_good(token, user, now) => {
                    if entry.role == Role::Admin && user.role != Role::Admin {
                        entry.demoted.cancel();
                    }
                }
                _ => entry.revoked.cancel(),
            }
        }
    }
    Ok(())
}

fn is_good(token: &api_token::Model, user: &user::Model, now: Timestamp) -> bool {
    user.status == UserStatus::Active && token.expires_at.is_none_or(|end| end > now)
}
