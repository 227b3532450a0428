//! One installation of Wharfinger for one test: its settings, database and data directory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use wharfinger_jobs::testing::registry::TestRegistry;

use super::graphql::Client;
use super::postgres_proxy::PostgresProxy;
use super::private_redis::PrivateRedis;
use super::process::Process;
use super::servers::{Server, engine};

/// Short times, so that tests need not wait for long ones.
const QUICK: &[(&str, &str)] = &[
    ("WHARFINGER_LISTEN", "127.0.0.1:0"),
    ("WHARFINGER_BOARD__LISTEN", ""),
    ("WHARFINGER_WORKER__LISTEN", "127.0.0.1:0"),
    ("WHARFINGER_WORKER__LEASE", "2s"),
    ("WHARFINGER_RETRY__BASE_DELAY", "100ms"),
    ("WHARFINGER_RECONCILE__INTERVAL", "1s"),
    // No load balancer is waited for.
    ("WHARFINGER_SHUTDOWN__UNREADY", "0s"),
    ("WHARFINGER_REGISTRIES__ALLOW", "127.0.0.1:*"),
    ("WHARFINGER_LIMITS__LIVE_JOBS_PER_USER", "0"),
    ("WHARFINGER_LIMITS__PULLS_PER_HOUR_PER_USER", "0"),
    // Tests look again and again, from one address.
    ("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "0"),
];

/// An installation.
pub(crate) struct World {
    settings: BTreeMap<String, String>,
    pub(crate) redis: Option<PrivateRedis>,
    pub(crate) registry: TestRegistry,
    directory: TempDir,
}

impl World {
    /// Everything in one process, on SQLite.
    pub(crate) fn embedded() -> Self {
        let directory = TempDir::new().unwrap();
        let mut settings: BTreeMap<String, String> = QUICK
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let data_dir = directory.path().join("data").display().to_string();
        settings.insert("WHARFINGER_DATA_DIR".into(), data_dir);
        Self {
            settings,
            redis: None,
            registry: TestRegistry::open(),
            directory,
        }
    }

    /// Gateways and workers apart, on a database of this kind and a Redis.
    pub(crate) async fn fleet(server: Server) -> Self {
        let mut world = Self::embedded();
        let redis = PrivateRedis::start().await;
        world.set("REDIS_URL", &redis.url());
        world.set("DATABASE_URL", &server.database().await);
        world.redis = Some(redis);
        world
    }

    /// Changes a setting for the processes that start from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Where its processes keep their files.
    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.settings["WHARFINGER_DATA_DIR"].clone().into()
    }

    /// The URL of the database.
    pub(crate) fn database_url(&self) -> String {
        let file = self.data_dir().join("wharfinger.db");
        self.settings
            .get("DATABASE_URL")
            .map_or_else(|| format!("sqlite://{}", file.display()), ToOwned::to_owned)
    }

    /// The program with these arguments and nothing but this world's settings in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .envs(&self.settings)
            .current_dir(self.directory.path());
        // By this the servers' script finds what a killed test left running.
        if let Some(marker) = std::env::var_os("WHARFINGER_TEST_SERVERS") {
            command.env("WHARFINGER_TEST_SERVERS", marker);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the program to its end with this on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs the program, which has to refuse to. Returns what it says on its standard error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A gateway with a worker for the first engine, whose host it calls "one".
    pub(crate) async fn serve(&self) -> Process {
        self.serve_at(&engine(1)).await
    }

    /// The same for another engine.
    pub(crate) async fn serve_at(&self, docker_host: &str) -> Process {
        let mut command = self.command(&["serve", "--host-name", "one"]);
        command.env("DOCKER_HOST", docker_host);
        Process::start(command, "the gateway listens on http://").await
    }

    /// A gateway of a fleet.
    pub(crate) async fn gateway(&self) -> Process {
        let command = self.command(&["serve", "--no-worker"]);
        Process::start(command, "the gateway listens on http://").await
    }

    /// A worker of a fleet for an engine.
    pub(crate) async fn worker_at(&self, host: &str, docker_host: &str) -> Process {
        let mut command = self.command(&["worker", "--host-name", host]);
        command.env("DOCKER_HOST", docker_host);
        Process::start(command, "the worker reports on http://").await
    }

    /// A worker of a fleet on host "one", at the first engine.
    pub(crate) async fn worker(&self) -> Process {
        self.worker_at("one", &engine(1)).await
    }

    /// A gateway with a worker, and a client of a new user.
    pub(crate) async fn serve_to(&self, user: &str) -> (Process, Client) {
        let token = self.user(user, &[]);
        let gateway = self.serve().await;
        let client = gateway.client(&token);
        (gateway, client)
    }

    /// A worker on host "one", a gateway, and a client of a new user once the host is online.
    pub(crate) async fn work_for(&self, user: &str) -> (Process, Process, Client) {
        let token = self.user(user, &[]);
        let (worker, gateway) = (self.worker().await, self.gateway().await);
        let client = gateway.client(&token);
        client.online_host("one").await;
        (worker, gateway, client)
    }

    /// Lets the processes that start from now on reach PostgreSQL through a proxy.
    pub(crate) async fn behind_proxy(&mut self) -> PostgresProxy {
        let proxy = PostgresProxy::start(&self.database_url()).await;
        self.set("DATABASE_URL", &proxy.url);
        proxy
    }

    /// Makes a user and returns their token.
    pub(crate) fn user(&self, name: &str, more: &[&str]) -> String {
        self.create_user(&[&[name], more].concat(), "")
    }

    /// Makes a user who signs in with a password, and returns their first token.
    pub(crate) fn user_with_password(&self, name: &str, password: &str, more: &[&str]) -> String {
        let arguments = [&[name, "--password-stdin"], more].concat();
        self.create_user(&arguments, &format!("{password}\n"))
    }

    fn create_user(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [&["user", "create"], arguments].concat();
        let output = self.run_with_input(&arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "user create: {errors}");
        let token = String::from_utf8(output.stdout).unwrap();
        token.trim_end().to_owned()
    }

    /// A file in the directory of this world.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
