//! Reaching an engine: dialled when first used, in a version of the API that it knows.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use parking_lot::Mutex;
use url::Url;

use super::EngineError;

/// Where an engine listens when nothing says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Docker's port for plain HTTP, which a host without a port means.
const DEFAULT_PORT: u16 = 2375;

/// How long an answer shows that the engine is there.
const JUST_NOW: Duration = Duration::from_secs(1);

/// An engine's address, and the client for it once a version is agreed on.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) host: Arc<str>,
    client: Arc<Mutex<Option<Docker>>>,
    answered: Arc<Mutex<Option<Instant>>>,
}

impl Connection {
    /// Checks the form of the address. Dials nothing.
    pub(super) fn new(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let host = normalize(docker_host.unwrap_or(DEFAULT_HOST))?;
        Ok(Self {
            host: host.into(),
            client: Arc::default(),
            answered: Arc::default(),
        })
    }

    /// Whether the engine listens on a socket file, which puts it on this machine.
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with("unix://")
    }

    /// Makes a request, at most twice: an engine that was replaced by another version since the last one is spoken to
    /// again in a version that it knows.
    pub(super) async fn call<T, F>(
        &self,
        deadline: Duration,
        request: impl Fn(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = tokio::time::timeout(deadline, async {
            match request(self.client().await?).await {
                Err(error) if is_version_refused(&error) => {
                    self.forget();
                    request(self.client().await?).await
                }
                answer => answer,
            }
        })
        .await;
        let answer = match answer {
            Ok(answer) => answer.map_err(EngineError::from),
            Err(_) => Err(EngineError::silent(deadline)),
        };
        if answer.is_ok() {
            *self.answered.lock() = Some(Instant::now());
        }
        answer.inspect_err(|error| self.forget_if_gone(error))
    }

    /// Whether the engine answered something just now.
    pub(super) fn answered_just_now(&self) -> bool {
        let answered = *self.answered.lock();
        answered.is_some_and(|answered| answered.elapsed() < JUST_NOW)
    }

    /// The client, speaking a version of the API that the engine knows.
    pub(super) async fn client(&self) -> Result<Docker, Error> {
        let known = self.client.lock().clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let client = Docker::connect_with_host(&self.host)?
            .negotiate_version()
            .await?;
        Ok(self.client.lock().insert(versioned(client)).clone())
    }

    /// Forgets the version of an engine that is gone: another engine may answer next.
    pub(super) fn forget_if_gone(&self, error: &EngineError) {
        if matches!(error, EngineError::Unavailable { .. }) {
            self.forget();
        }
    }

    fn forget(&self) {
        *self.client.lock() = None;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.host).finish()
    }
}

/// Makes the client ask for the version that was agreed on. Bollard 0.21 puts it nowhere (its `Uri::parse` joins an
/// absolute path, which replaces the version): the engine would answer in its newest, which may be newer than the types
/// that read it.
fn versioned(client: Docker) -> Docker {
    let version = client.client_version();
    let prefix = format!("/v{}.{}/", version.major_version, version.minor_version);
    client.with_request_modifier(move |mut request| {
        let uri = request.uri().to_string();
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        if let Some(host) = uri.strip_suffix(path)
            && !path.starts_with(&prefix)
            && let Ok(uri) = format!("{host}{}{path}", prefix.trim_end_matches('/')).parse()
        {
            *request.uri_mut() = uri;
        }
        request
    })
}

/// The middleware that refuses has no code for it, only these words (moby, `daemon/server/middleware/version.go`).
fn is_version_refused(error: &Error) -> bool {
    let Error::DockerResponseServerError {
        status_code: 400,
        message,
    } = error
    else {
        return false;
    };
    message.starts_with("client version ")
        && (message.contains(" is too new") || message.contains(" is too old"))
}

fn normalize(docker_host: &str) -> Result<String, EngineError> {
    let invalid = || {
        // What stands before an @ may be a password.
        let shown = match docker_host.rsplit_once('@') {
            Some((_, host)) => format!("{host:?} with a login"),
            None => format!("{docker_host:?}"),
        };
        EngineError::other(format!(
            "not the address of a Docker engine: {shown}; \
             it would be unix:///path/to/docker.sock or tcp://host:port"
        ))
    };
    if docker_host.starts_with("unix:///") {
        return Ok(docker_host.to_owned());
    }
    let url = Url::parse(docker_host).map_err(|_| invalid())?;
    let plain =
        matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    match (url.scheme(), url.host_str()) {
        ("tcp" | "http", Some(host)) if plain && !host.is_empty() => {
            // A URL does not tell port 80 from none where the scheme is http.
            let port = match url.port() {
                None if docker_host.trim_end_matches('/').ends_with(":80") => 80,
                port => port.unwrap_or(DEFAULT_PORT),
            };
            Ok(format!("tcp://{host}:{port}"))
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_docker_host() {
        let forms = [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1:2376", "tcp://10.0.0.1:2376"),
            ("tcp://docker", "tcp://docker:2375"),
            ("http://docker/", "tcp://docker:2375"),
            ("http://docker:80", "tcp://docker:80"),
            ("http://127.0.0.1:4000", "tcp://127.0.0.1:4000"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ];
        for (given, meant) in forms {
            assert_eq!(normalize(given).unwrap(), meant, "{given}");
        }
        for wrong in [
            "",
            "docker",
            "unix://",
            "unix://relative",
            "ssh://me@host",
            "tcp://",
            "tcp://host/path",
            "fd://",
            "tcp://ada:hunter2@host:2375",
        ] {
            let error = normalize(wrong).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(error.to_string().contains("unix:///"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_refused_version_is_told_from_other_refusals() {
        let refused = |message: &str| {
            is_version_refused(&Error::DockerResponseServerError {
                status_code: 400,
                message: message.to_owned(),
            })
        };
        assert!(refused(
            "client version 1.53 is too new. Maximum supported API version is 1.41"
        ));
        assert!(refused(
            "client version 1.41 is too old. Minimum supported API version is 1.44, \
             please upgrade your client to a newer version"
        ));
        assert!(!refused("invalid reference format"));
        assert!(!is_version_refused(&Error::RequestTimeoutError));
    }
}
