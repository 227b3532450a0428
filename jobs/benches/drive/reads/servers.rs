//! The servers that are compared.

use std::process::{Command, Stdio};

use futures::future::BoxFuture;

use super::graphql;
use super::load::Target;
use crate::Outcome;
use crate::environment::variable;
use crate::gateway::{Installation, Process, free_port, ready};

pub(crate) const SKIPPED: &str =
    "servers on Node              SKIPPED: npm could not install them (is its registry reachable?)";

/// One of the servers.
pub(crate) trait Server {
    /// For the report.
    fn name(&self) -> String;
    /// Starts it, until what this returns is dropped.
    fn start(&self) -> BoxFuture<'_, Outcome<Process>>;
    /// A read by its name, or by GraphQL.
    fn target(&self, read: &str, query: &str, tokens: &[String]) -> Target;
}

impl Server for Installation {
    fn name(&self) -> String {
        "Wharfinger".into()
    }

    fn start(&self) -> BoxFuture<'_, Outcome<Process>> {
        Box::pin(self.serve(&["--no-worker"]))
    }

    fn target(&self, _: &str, query: &str, tokens: &[String]) -> Target {
        graphql(self.port, query, tokens)
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

    fn target(&self, read: &str, _: &str, tokens: &[String]) -> Target {
        Target {
            url: format!("http://127.0.0.1:{}/{read}", self.port),
            body: None,
            tokens: tokens.to_vec(),
        }
    }
}

/// A GraphQL server on Node, in one process or in several that share its port.
pub(crate) struct Node {
    framework: &'static str,
    directory: String,
    database: String,
    processes: usize,
    port: u16,
}

impl Node {
    /// `framework` is the name of its script.
    pub(crate) fn new(
        framework: &'static str,
        directory: &str,
        database: &str,
        processes: usize,
    ) -> Outcome<Self> {
        Ok(Self {
            framework,
            directory: directory.to_owned(),
            database: database.to_owned(),
            processes,
            port: free_port()?,
        })
    }
}

impl Server for Node {
    fn name(&self) -> String {
        format!("{} on Node, processes: {}", self.framework, self.processes)
    }

    fn start(&self) -> BoxFuture<'_, Outcome<Process>> {
        Box::pin(async {
            let mut command = Command::new("node");
            command
                .arg(format!("{}.mjs", self.framework))
                .current_dir(&self.directory)
                .env("NODE_ENV", "production")
                .env("DATABASE_URL", &self.database)
                .env("PROCESSES", self.processes.to_string())
                .env("PORT", self.port.to_string());
            begin(command, self.port).await
        })
    }

    fn target(&self, _: &str, query: &str, tokens: &[String]) -> Target {
        graphql(self.port, query, tokens)
    }
}

async fn begin(mut command: Command, port: u16) -> Outcome<Process> {
    let process = Process::new(command.stdin(Stdio::null()).spawn()?);
    ready(port, "/readyz").await?;
    Ok(process)
}
