//! Pulling: the engine's events, one by one.

use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};

use wharfinger_entity::CleanText;
use zeroize::Zeroizing;

use super::error::{classify, unavailable};
use super::{Engine, EngineError, PING, PullName};

/// Something that happened in a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEvent {
    /// The engine has read the manifest: layers follow.
    Resolved,
    /// Something happened to a layer.
    Layer {
        /// The engine's short id of it: the first 12 digits of its digest.
        id: CleanText<80>,
        /// The step.
        step: LayerStep,
    },
    /// The digest of the manifest that was pulled.
    Digest(CleanText<160>),
    /// The whole image is on the host. The last event of a pull that succeeds.
    Finished,
    /// Words of the engine that no decision depends on.
    Other(CleanText),
}

/// A step in the life of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// It is to be fetched.
    Announced,
    /// It waits for its turn.
    Waiting,
    /// It is being fetched.
    Downloading {
        /// Bytes so far, since the transfer of the layer last began.
        current: u64,
        /// Bytes in all, if the registry says.
        total: Option<u64>,
    },
    /// Its transfer broke and will be tried again.
    Retrying,
    /// All its bytes are here.
    Downloaded,
    /// It is being unpacked.
    Extracting {
        /// How far: compressed bytes, or seconds, as the engine counts.
        current: u64,
        /// In all, if the engine says.
        total: Option<u64>,
    },
    /// It is on the host.
    Done,
    /// It was on the host already.
    Exists,
}

/// A login that the engine shows to the registry. Never prints its secret, and leaves none in memory (bollard, which sends
/// it, does).
#[derive(Clone, PartialEq, Eq)]
pub struct EngineLogin {
    /// The registry's host, with its port: `ghcr.io`.
    pub registry: String,
    /// User name.
    pub username: String,
    /// Password or access token.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for EngineLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineLogin")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Lets the engine pull. Begins when the stream is first polled, and succeeded if it ends without an error.
    /// Dropping it cancels the pull: the engine ends a pull with its request.
    pub fn pull(
        &self,
        name: &PullName,
        login: Option<&EngineLogin>,
    ) -> impl Stream<Item = Result<PullEvent, EngineError>> + Send + use<> {
        let connection = self.connection.clone();
        let on_error = self.connection.clone();
        let options = CreateImageOptionsBuilder::new()
            .from_image(&name.repository)
            .tag(&name.tag_or_digest)
            .build();
        let login = login.map(|login| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.secret.to_string()),
            serveraddress: Some(login.registry.clone()),
            ..Default::default()
        });
        stream::once(async move {
            // Settles the version of the API, and finds a dead engine within a deadline.
            if !connection.answered_just_now() {
                connection
                    .call(PING, |docker| async move { docker.ping().await })
                    .await?;
            }
            let docker = connection.client().await?.with_timeout(Duration::MAX);
            let events = docker.create_image(Some(options), None, login);
            Ok::<_, EngineError>(whole(events.map_err(EngineError::from).boxed()))
        })
        .try_flatten()
        .inspect_err(move |error| on_error.forget_if_gone(error))
    }
}

/// An engine that goes away may end its answer in good form: only its last word tells a whole pull from a cut one.
fn whole(
    events: impl Stream<Item = Result<CreateImageInfo, EngineError>> + Send + Unpin,
) -> impl Stream<Item = Result<PullEvent, EngineError>> + Send {
    stream::try_unfold((events, false), |(mut events, finished)| async move {
        match events.try_next().await? {
            Some(info) => {
                let event = PullEvent::read(info)?;
                let finished = finished || event == PullEvent::Finished;
                Ok(Some((event, (events, finished))))
            }
            None if finished => Ok(None),
            None => Err(unavailable(
                "the Docker engine ended the pull without saying how",
            )),
        }
    })
}

impl PullEvent {
    fn read(info: CreateImageInfo) -> Result<Self, EngineError> {
        if let Some(error) = info.error_detail {
            let message = error.message.as_deref();
            let message = message.unwrap_or("the engine gave no reason");
            return Err(classify(None, message));
        }
        let status = info.status.unwrap_or_default();
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let detail = info.progress_detail.unwrap_or_default();
        let total = bytes(detail.total).filter(|total| *total > 0);
        let current = bytes(detail.current).unwrap_or(0);
        let step = match status.as_str() {
            "Pulling fs layer" => LayerStep::Announced,
            "Waiting" => LayerStep::Waiting,
            "Downloading" => LayerStep::Downloading { current, total },
            "Verifying Checksum" | "Download complete" => LayerStep::Downloaded,
            "Extracting" => LayerStep::Extracting { current, total },
            "Pull complete" => LayerStep::Done,
            "Already exists" => LayerStep::Exists,
            retrying if retrying.starts_with("Retrying in ") => LayerStep::Retrying,
            _ => return Ok(Self::of_the_whole(&status)),
        };
        Ok(
            match info.id.map(CleanText::from).filter(|id| !id.is_empty()) {
                Some(id) => Self::Layer { id, step },
                None => Self::Other(status.into()),
            },
        )
    }

    fn of_the_whole(status: &str) -> Self {
        if status.starts_with("Pulling from ") {
            Self::Resolved
        } else if let Some(digest) = status.strip_prefix("Digest: ") {
            Self::Digest(digest.into())
        } else if status.starts_with("Status: ") {
            Self::Finished
        } else {
            Self::Other(status.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future;

    fn line(json: &str) -> Result<PullEvent, EngineError> {
        PullEvent::read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn the_lines_of_an_engine() {
        let downloading = |current, total| LayerStep::Downloading { current, total };
        let extracting = |current, total| LayerStep::Extracting { current, total };
        for (status, detail, step) in [
            ("Pulling fs layer", "{}", LayerStep::Announced),
            ("Waiting", "{}", LayerStep::Waiting),
            (
                "Downloading",
                r#"{"current":32,"total":90}"#,
                downloading(32, Some(90)),
            ),
            (
                "Downloading",
                r#"{"current":5,"total":-1}"#,
                downloading(5, None),
            ),
            ("Retrying in 5 seconds", "{}", LayerStep::Retrying),
            ("Verifying Checksum", "{}", LayerStep::Downloaded),
            (
                "Extracting",
                r#"{"current":1,"units":"s"}"#,
                extracting(1, None),
            ),
            (
                "Extracting",
                r#"{"current":32,"total":90}"#,
                extracting(32, Some(90)),
            ),
            ("Pull complete", r#"{"hidecounts":true}"#, LayerStep::Done),
            ("Already exists", "{}", LayerStep::Exists),
        ] {
            let json = format!(
                r#"{{"status":"{status}","progressDetail":{detail},"progress":"[=> ]","id":"a3ed95caeb02"}}"#
            );
            let id = "a3ed95caeb02".into();
            assert_eq!(
                line(&json).unwrap(),
                PullEvent::Layer { id, step },
                "{json}"
            );
        }
        let digest = PullEvent::Digest("sha256:ab".into());
        for (json, event) in [
            (
                r#"{"status":"Pulling from library/redis","id":"7"}"#,
                PullEvent::Resolved,
            ),
            (r#"{"status":"Digest: sha256:ab"}"#, digest),
            (
                r#"{"status":"Status: Image is up to date for redis:7"}"#,
                PullEvent::Finished,
            ),
            (
                r#"{"status":"Waiting"}"#,
                PullEvent::Other("Waiting".into()),
            ),
            ("{}", PullEvent::Other(CleanText::default())),
        ] {
            assert_eq!(line(json).unwrap(), event, "{json}");
        }
        let error =
            line(r#"{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}"#);
        assert!(matches!(error, Err(EngineError::RegistryUnavailable(_))));
        assert!(line(r#"{"errorDetail":{"code":1}}"#).is_err());
    }

    #[tokio::test]
    async fn a_pull_that_ends_without_its_last_word_failed() {
        let status = |status: &str| {
            Ok(CreateImageInfo {
                status: Some(status.to_owned()),
                ..Default::default()
            })
        };
        let cut = whole(stream::iter([status("Pulling from x")]));
        let events: Vec<_> = cut.collect().await;
        assert!(matches!(
            events[..],
            [
                Ok(PullEvent::Resolved),
                Err(EngineError::Unavailable { .. })
            ]
        ));
        let ended = whole(stream::iter([
            status("Pulling from x"),
            status("Status: Downloaded newer image for x"),
        ]));
        assert!(ended.all(|event| future::ready(event.is_ok())).await);
    }

    #[test]
    fn a_login_does_not_print_its_secret() {
        let login = EngineLogin {
            registry: "ghcr.io".into(),
            username: "ada".into(),
            secret: "hunter2".to_owned().into(),
        };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
