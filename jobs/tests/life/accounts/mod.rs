//! Users, their passwords, tokens, rights and credits: the services on every database, without engine or worker.

mod credits;
mod passwords;
mod rights;
mod sessions;
mod throttle;
mod tokens;

use std::time::Duration;

use sea_orm::EntityTrait as _;
use uuid::Uuid;
use wharfinger_entity::{Credits, Role, Timestamp, api_token, audit_entry, user};
use wharfinger_jobs::accounts::{NewUser, create_user, sign_in};
use wharfinger_jobs::error::{ServiceError, UserError};
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::services::Services;

use crate::support::database::TestDatabase;
use crate::support::process::{Link, services};
use crate::support::{Shape, settings, variable};

/// A password that nobody guesses.
const PASSWORD: &str = "correct horse battery staple";

/// The same installation, seen by any number of gateways that share a clock.
struct Place {
    database: TestDatabase,
    link: Link,
    clock: Clock,
}

impl Place {
    async fn new(shape: Shape) -> Self {
        let link = match shape {
            Shape::Embedded => Link::memory(),
            _ => Link::Redis {
                url: variable("WHARFINGER_TEST_REDIS_URL"),
                prefix: format!("accounts:{}", Uuid::new_v4().simple()),
            },
        };
        let place = Self {
            database: TestDatabase::create(shape).await,
            link,
            clock: Clock::manual(Timestamp::from_micros(1_800_000_000_000_000)),
        };
        place.gateway().await.db.migrate().await.unwrap();
        place
    }

    /// One more gateway: its own connections, the same database and events.
    async fn gateway(&self) -> Services {
        let mut services = services(&self.database.url, &self.link, &settings()).await;
        services.clock = self.clock.clone();
        services
    }
}

/// A user, with a password if they are to sign in.
async fn make_user(
    services: &Services,
    name: &str,
    role: Role,
    password: Option<&str>,
) -> user::Model {
    let password_hash = match password {
        Some(password) => Some(services.passwords.hash(password).await.unwrap()),
        None => None,
    };
    let new = NewUser {
        name: name.to_owned(),
        role,
        password_hash,
        credits: "100".parse::<Credits>().unwrap(),
    };
    create_user(&services.db, &new, services.clock.now())
        .await
        .unwrap()
}

/// Signs in and returns the token with its secret.
async fn signed_in(services: &Services, name: &str, password: &str) -> (api_token::Model, String) {
    let done = sign_in(services, name, password, None).await.unwrap();
    (done.token, done.secret)
}

/// What the caller could mend.
fn refused<T: std::fmt::Debug>(answer: Result<T, ServiceError>) -> UserError {
    match answer {
        Err(ServiceError::Rejected(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// How long the caller is to wait.
fn throttled<T: std::fmt::Debug>(answer: Result<T, ServiceError>) -> Duration {
    match answer {
        Err(ServiceError::Throttled(wait)) => wait,
        other => panic!("{other:?}"),
    }
}

async fn row(services: &Services, id: Uuid) -> user::Model {
    let found = user::Entity::find_by_id(id).one(services.db.read()).await;
    found.unwrap().unwrap()
}

async fn audit_log(services: &Services) -> Vec<audit_entry::Model> {
    audit_entry::Entity::find()
        .all(services.db.read())
        .await
        .unwrap()
}
