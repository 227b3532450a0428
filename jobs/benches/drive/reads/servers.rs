//! The servers that are compared.

use std::process::{Command, Stdio};

use futures::future::BoxFuture;

use super::graphql;
use super::load::Target;
use crate::Outcome;
use crate::environment::variable;
use crate::gateway::{Installation, Process, free_port, ready};

pub(crate) const SKIPPED: &str =
    "mercurius on Node            SKIPPED: npm could not install it (is its registry reachable?)";

/// One of the servers.
pub(crate) trait Server {
    /// For the report.
    fn name(&self) -> String;
    /// Starts it, until what this returns is dropped.
    fn start(&self) -> BoxFuture<'_, Outcome<Process>>;
    /// A read by its name, or by GraphQL.
    fn target(&self, read: &str, query: &str, token: &str) -> Target;
}

impl Server for Installation {
    fn name(&self) -> String {
        "Wharfinger".into()
    }

    fn start(&self) -> BoxFuture<'_, Outcome<Process>> {
        Box::pin(self.serve(&["--no-worker"]))
    }

    fn target(&self, _: &str, query: &str, token: &str) -> Target {
        graphql(self.port, query, token)
    }
}

/// The bare handlers: this program, run again.
pub(crate) struct Bare {
    database: String,
    port: u16,
}

impl Bare {
    pub(crate) fn new(database: &str) -> Outcome<Self> {
        Ok(Self {
            database: database.to_owned(),
            port: free_port()?,
        })
    }
}

impl Server for Bare {
    fn name(&self) -> String {
        "axum + sqlx, the same SQL".into()
    }

    fn start(&self) -> BoxFuture<'_, Outcome<Process>> {
        Box::pin(async {
            let mut command = Command::new(variable("WHARFINGER_BENCH_DRIVER")?);
            command
                .arg("bare")
                .env("DATABASE_URL", &self.database)
                .env("PORT", self.port.to_string());
            begin(command, self.port).await
        })
    }

    fn target(&self, read: &str, _: &str, token: &str) -> Target {
        Target {
            url: format!("http://127.0.0.1:{}/{read}", self.port),
            body: None,
            token: token.to_owned(),
        }
    }
}

/// mercurius, in one process or in several that share its port.
pub(crate) struct Node {
    name: String,
    directory: String,
    database: String,
    processes: usize,
    port: u16,
}

impl Node {
    pub(crate) fn new(directory: &str, database: &str, processes: usize) -> Outcome<Self> {
        Ok(Self {
            name: format!("mercurius on Node, processes: {processes}"),
            directory: directory.to_owned(),
            database: database.to_owned(),
            processes,
            port: free_port()?,
        })
    }
}

impl Server for Node {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn start(&self) -> BoxFuture<'_, Outcome<Process>> {
        Box::pin(async {
            let mut command = Command::new("node");
            command
                .arg("serve.mjs")
                .current_dir(&self.directory)
                .env("NODE_ENV", "production")
                .env("DATABASE_URL", &self.database)
                .env("PROCESSES", self.processes.to_string())
                .env("PORT", self.port.to_string());
            begin(command, self.port).await
        })
    }

    fn target(&self, _: &str, query: &str, token: &str) -> Target {
        graphql(self.port, query, token)
    }
}

async fn begin(mut command: Command, port: u16) -> Outcome<Process> {
    let process = Process::new(command.stdin(Stdio::null()).spawn()?);
    ready(port, "/readyz").await?;
    Ok(process)
}
