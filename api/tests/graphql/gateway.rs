//! A gateway in this process.

use std::collections::BTreeMap;

use axum::Router;
use figment::providers::Serialized;
use figment::value::Dict;
use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use wharfinger_entity::Role;
use wharfinger_jobs::accounts::{NewUser, create_token, create_user};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::{dispatch, maintenance};

use super::client::Client;
use super::servers::Server;
use crate::auth::token_authenticator::TokenAuthenticator;
use crate::board::{self, BoardAuth};
use crate::commands::serve;
use crate::config::Config;
use crate::startup;

/// Pulls that nothing but what is tested refuses.
const SETTINGS: &[(&str, &str)] = &[
    ("WHARFINGER_HOST_NAME", "one"),
    ("WHARFINGER_SECRET_KEY", "no secret for anything but this"),
    ("WHARFINGER_REGISTRIES__ALLOW", "127.0.0.1:*"),
    ("WHARFINGER_LIMITS__LIVE_JOBS_PER_USER", "0"),
    ("WHARFINGER_LIMITS__PULLS_PER_HOUR_PER_USER", "0"),
    ("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "0"),
];

/// Where a gateway keeps everything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Store {
    /// The URL of a new, empty database; none for the file of a data directory.
    async fn database(self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(Server::Postgres.database().await),
            Self::MariaDb => Some(Server::MariaDb.database().await),
        }
    }
}

/// The endpoint over a database of its own. It ends with this.
pub(crate) struct Gateway {
    pub(crate) services: Services,
    pub(crate) router: Router,
    authenticator: TokenAuthenticator,
    environment: BTreeMap<String, String>,
    config: Config,
    _closing: DropGuard,
    _directory: TempDir,
}

impl Gateway {
    pub(crate) async fn on(store: Store) -> Self {
        Self::with(store, &[]).await
    }

    /// With other settings.
    pub(crate) async fn with(store: Store, settings: &[(&str, &str)]) -> Self {
        let all = SETTINGS.iter().chain(settings);
        let mut environment: BTreeMap<_, _> = all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if let Some(url) = store.database().await {
            environment.insert("DATABASE_URL".to_owned(), url);
        }
        Self::build(environment, TempDir::new().unwrap()).await
    }

    async fn build(mut environment: BTreeMap<String, String>, directory: TempDir) -> Self {
        let data = directory.path().display().to_string();
        environment.insert("WHARFINGER_DATA_DIR".to_owned(), data);
        let no_flags = Serialized::defaults(Dict::new());
        let config = Config::from_sources(None, environment.clone(), &no_flags).unwrap();
        let request_time = config.limits.request_time;
        let db = startup::database(&config, true, request_time)
            .await
            .unwrap();
        let services = startup::services(&config, db).await.unwrap();
        let close = CancellationToken::new();
        let (router, authenticator) = serve::endpoint(&config, &services, &close).unwrap();
        Self {
            services,
            router,
            authenticator,
            environment,
            config,
            _closing: close.drop_guard(),
            _directory: directory,
        }
    }

    /// Another one with the same settings and what is in the SQLite database now.
    pub(crate) async fn copy(&self) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("wharfinger.db");
        let copy = format!("VACUUM INTO '{}'", file.display());
        let url = self.config.database_url();
        let db = Database::connect(url.expose()).await.unwrap();
        db.execute_unprepared(&copy).await.unwrap();
        db.close().await.unwrap();
        Self::build(self.environment.clone(), directory).await
    }

    /// Another one over the same database, reached at this URL, with connections of its own.
    pub(crate) async fn over(&self, url: &str) -> Self {
        let mut environment = self.environment.clone();
        environment.insert("DATABASE_URL".to_owned(), url.to_owned());
        Self::build(environment, TempDir::new().unwrap()).await
    }

    /// The URL of its database.
    pub(crate) fn database_url(&self) -> String {
        self.config.database_url().expose().to_owned()
    }

    /// The board beside the endpoint.
    pub(crate) fn board(&self) -> Router {
        let auth = BoardAuth {
            services: self.services.clone(),
            tokens: self.authenticator.tokens.clone(),
            rates: self.authenticator.rates.clone(),
            trusted_proxies: [].into(),
        };
        board::router(auth, CancellationToken::new())
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Client {
        Client::of(&self.router, None)
    }

    /// A new user with the credits that everyone begins with.
    pub(crate) async fn user(&self, name: &str) -> Client {
        self.make(name, Role::User, "1000", None).await
    }

    /// A new user with credits for very many pulls.
    pub(crate) async fn make_rich(&self, name: &str) -> Client {
        self.make(name, Role::User, "100000", None).await
    }

    /// A new administrator.
    pub(crate) async fn admin(&self, name: &str) -> Client {
        self.make(name, Role::Admin, "1000", None).await
    }

    /// A new user, as the command line makes one. Returns a client with the token that it prints.
    pub(crate) async fn make(
        &self,
        name: &str,
        role: Role,
        credits: &str,
        password: Option<&str>,
    ) -> Client {
        let password_hash = match password {
            Some(password) => Some(self.services.passwords.hash(password).await.unwrap()),
            None => None,
        };
        let new = NewUser {
            name: name.to_owned(),
            role,
            password_hash,
            credits: credits.parse().unwrap(),
        };
        let (db, now) = (&self.services.db, self.services.clock.now());
        let user = create_user(db, &new, now).await.unwrap();
        let token = create_token(db, user.id, "made with the user", None, now).await;
        Client::of(&self.router, Some(&token.unwrap()))
    }

    /// Runs a worker for the engine of the settings, and the tasks of a gateway, until this is done.
    pub(crate) async fn working<T>(&self, during: impl Future<Output = T>) -> T {
        let stop = CancellationToken::new();
        let worker = startup::local_worker(&self.config, &self.services)
            .await
            .unwrap();
        let tasks = async {
            let services = || self.services.clone();
            tokio::join!(
                worker.run(stop.clone()),
                dispatch::run(services(), None, stop.clone()),
                maintenance::run(services(), stop.clone()),
            )
        };
        let during = async {
            let done = during.await;
            stop.cancel();
            done
        };
        tokio::join!(during, tasks).0
    }
}
