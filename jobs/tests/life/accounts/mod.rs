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
use wharfinger_entity::{Role, Timestamp, UserStatus, api_token, audit_entry, user};
use wharfinger_jobs::accounts::{NewUser, UpdateUser, authenticate, create_user, sign_in};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::services::Services;

use crate::support::database::TestDatabase;
use crate::support::process::{Link, services};
use crate::support::{Shape, credits, refusal, settings};

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
        let place = Self {
            database: TestDatabase::create(shape).await,
            link: Link::of(shape),
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
        credits: credits("100"),
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

/// Another role for a user.
fn role(id: Uuid, role: Role) -> UpdateUser<'static> {
    UpdateUser {
        user_id: Some(id),
        role: Some(role),
        ..UpdateUser::default()
    }
}

/// Another status for a user.
fn status(id: Uuid, status: UserStatus) -> UpdateUser<'static> {
    UpdateUser {
        user_id: Some(id),
        status: Some(status),
        ..UpdateUser::default()
    }
}

/// Whether a token's secret lets a caller in.
async fn works(services: &Services, secret: &str) -> bool {
    let found = authenticate(&services.db, secret, services.clock.now()).await;
    found.unwrap().is_some()
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
