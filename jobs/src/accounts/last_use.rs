//! When a token was last used: written at most once a minute, and never while a request waits.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, api_token};

use crate::services::Services;

/// How exact it is.
const PERIOD: Duration = Duration::from_mins(1);

/// Tokens whose use may be on its way into the database at a time; that of another is noted at its next use.
const AT_ONCE: usize = 64;

/// Notes that a token was used, if that was not noted within the minute. Returns at once.
pub fn note_use(services: &Services, token: &api_token::Model) {
    let (id, now) = (token.id, services.clock.now());
    let noted = token
        .last_used_at
        .is_some_and(|last| now.since(last) < PERIOD);
    if noted {
        return;
    }
    let Some(writing) = services.last_use.begin(id, AT_ONCE) else {
        return;
    };
    let services = services.clone();
    tokio::spawn(async move {
        let _writing = writing;
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
