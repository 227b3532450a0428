//! When a token was last used: written at most once a minute, and never while a request waits.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, api_token};

use crate::services::Services;

/// How exact it is.
const PERIOD: Duration = Duration::from_mins(1);

/// Tokens whose use may be on its way into the database at a time; that of another is noted at its next use.
const AT_ONCE: usize = 64;

/// The tokens whose use is on its way into the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastUse(Arc<Mutex<HashSet<Uuid>>>);

impl LastUse {
    fn begin(&self, token_id: Uuid) -> bool {
        let mut writing = self.lock();
        writing.len() < AT_ONCE && writing.insert(token_id)
    }

    fn end(&self, token_id: Uuid) {
        self.lock().remove(&token_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a use is on its way; also where writing it panics, the token's next use has room again.
struct Writing(LastUse, Uuid);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// Notes that a token was used, if that was not noted within the minute. Returns at once.
pub fn note_use(services: &Services, token: &api_token::Model) {
    let (id, now) = (token.id, services.clock.now());
    let noted = token
        .last_used_at
        .is_some_and(|last| now.since(last) < PERIOD);
    if noted || !services.last_use.begin(id) {
        return;
    }
    let services = services.clone();
    tokio::spawn(async move {
        let _writing = Writing(services.last_use.clone(), id);
        if let Err(error) = write(&services, id, now).await {
            tracing::debug!(%error, "could not note the use of a token");
        }
    });
}

async fn write(services: &Services, id: Uuid, now: Timestamp) -> Result<(), sea_orm::DbErr> {
    let stale = api_token::Column::LastUsedAt
        .is_null()
        .or(api_token::Column::LastUsedAt.lte(now.before(PERIOD)));
    api_token::Entity::update_many()
        .set(api_token::ActiveModel {
            last_used_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(api_token::Column::Id.eq(id))
        .filter(stale)
        .exec(services.db.relaxed())
        .await
        .map(drop)
}
