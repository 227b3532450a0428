//! Starts `wharfinger` processes, and asks them by GraphQL.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;
use crate::environment::variable;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Settings of one installation, by their environment variables.
#[derive(Clone)]
pub(crate) struct Installation {
    environment: Vec<(String, String)>,
    program: String,
    pub(crate) port: u16,
    data_dir: std::sync::Arc<TempDir>,
}

impl Installation {
    /// Embedded, with an engine and no limits.
    pub(crate) fn new(engine: &str) -> Outcome<Self> {
        let data = tempfile::tempdir()?;
        let port = free_port()?;
        let mut installation = Self {
            environment: Vec::new(),
            program: variable("WHARFINGER_BENCH_PROGRAM")?,
            port,
            data_dir: std::sync::Arc::new(data),
        };
        let data = installation.data_dir.path().display().to_string();
        for (name, value) in [
            ("WHARFINGER_DATA_DIR", data.as_str()),
            ("WHARFINGER_LISTEN", &format!("127.0.0.1:{port}")),
            ("WHARFINGER_BOARD__LISTEN", ""),
            (
                "WHARFINGER_WORKER__LISTEN",
                &format!("127.0.0.1:{}", free_port()?),
            ),
            ("WHARFINGER_REGISTRIES__ALLOW", "127.0.0.1:*"),
            ("WHARFINGER_LIMITS__LIVE_JOBS_PER_USER", "0"),
            ("WHARFINGER_LIMITS__PULLS_PER_HOUR_PER_USER", "0"),
            ("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "0"),
            ("WHARFINGER_LIMITS__UNIDENTIFIED_SOCKETS_PER_ADDRESS", "0"),
            ("WHARFINGER_CREDITS__INITIAL", "1000000"),
            ("WHARFINGER_HOST_NAME", "bench"),
            (
                "WHARFINGER_LOG",
                &std::env::var("LOG").unwrap_or_else(|_| "warn".into()),
            ),
            ("DOCKER_HOST", engine),
        ] {
            installation.set(name, value);
        }
        Ok(installation)
    }

    /// The path of a file that goes with it.
    pub(crate) fn data_file(&self, name: &str) -> std::path::PathBuf {
        self.data_dir.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On PostgreSQL and Redis.
    pub(crate) fn fleet(&mut self, database: &str) -> Outcome<&mut Self> {
        let redis = variable("WHARFINGER_TEST_REDIS_URL")?;
        Ok(self.set("DATABASE_URL", database).set("REDIS_URL", &redis))
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of the caller's settings gets in.
        for (name, _) in std::env::vars() {
            if name.starts_with("WHARFINGER_") {
                command.env_remove(name);
            }
        }
        command
            .args(words)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Starts a process that goes on until it is dropped.
    pub(crate) fn start(&self, words: &[&str]) -> Outcome<Process> {
        Ok(Process::new(self.command(words).spawn()?))
    }

    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn serve(&self, words: &[&str]) -> Outcome<Process> {
        let words: Vec<&str> = ["serve"].iter().chain(words).copied().collect();
        let process = self.start(&words)?;
        ready(self.port, "/readyz").await?;
        Ok(process)
    }

    /// Makes an administrator, and returns a client with their token.
    pub(crate) fn user(&self, name: &str) -> Outcome<Client> {
        self.create(&["user", "create", name, "--admin"])
    }

    /// Makes a user who is none.
    pub(crate) fn plain_user(&self, name: &str) -> Outcome<Client> {
        self.create(&["user", "create", name])
    }

    fn create(&self, words: &[&str]) -> Outcome<Client> {
        let made = self.command(words).stderr(Stdio::inherit()).output()?;
        if !made.status.success() {
            return Err(format!("user create failed: {}", made.status).into());
        }
        Ok(Client {
            http: reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()?,
            url: self.url(),
            token: String::from_utf8(made.stdout)?.trim().to_owned(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/graphql", self.port)
    }
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One user of a gateway.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    pub(crate) token: String,
}

impl Client {
    /// The answer's data; errors of any kind are errors.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Outcome<Value> {
        let answer: Value = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await?
            .json()
            .await?;
        if answer.get("errors").is_some() {
            return Err(answer.to_string().into());
        }
        Ok(answer["data"].clone())
    }

    /// Asks for an image. Returns the job, and the instant at which the whole answer had been read.
    pub(crate) async fn pull(&self, reference: &str) -> Outcome<(String, Instant)> {
        let query = "mutation($r: String!) { pullImage(input: { reference: $r }) { job { id } userErrors { message } } }";
        let data = self.ask(query, json!({ "r": reference })).await?;
        let answered = Instant::now();
        let id = data["pullImage"]["job"]["id"].as_str();
        Ok((id.ok_or_else(|| data.to_string())?.to_owned(), answered))
    }

    /// Waits until a job has ended well.
    pub(crate) async fn succeeded(&self, job: &str) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let query = "query($id: ID!) { job(id: $id) { state error { code message } } }";
            let data = self.ask(query, json!({ "id": job })).await?;
            match data["job"]["state"].as_str() {
                Some("SUCCEEDED") => return Ok(()),
                Some("QUEUED" | "RUNNING") if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                _ => return Err(data.to_string().into()),
            }
        }
    }

    /// How many jobs have ended well.
    pub(crate) async fn count_succeeded(&self) -> Outcome<u64> {
        let query = "{ jobs(first: 1, filter: { states: [SUCCEEDED] }) { totalCount } }";
        let data = self.ask(query, json!({})).await?;
        Ok(data["jobs"]["totalCount"].as_u64().ok_or("no count")?)
    }

    /// Waits until a host takes jobs.
    pub(crate) async fn host_online(&self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let data = self
                .ask("{ hosts { nodes { online } } }", json!({}))
                .await?;
            if data["hosts"]["nodes"][0]["online"] == true {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("no host comes online".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until `GET path` is answered with 200, and returns when it was.
pub(crate) async fn ready(port: u16, path: &str) -> Outcome<Instant> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let deadline = Instant::now() + PATIENCE;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    while Instant::now() < deadline {
        if let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            let mut head = [0; 12];
            if stream.write_all(request.as_bytes()).await.is_ok()
                && stream.read_exact(&mut head).await.is_ok()
                && head.ends_with(b"200")
            {
                return Ok(Instant::now());
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("nothing is ready on port {port}").into())
}

/// A TCP port that nothing listens on.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
