//! The engine's client against a real Docker engine and a real registry.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

mod failures;
mod http;
mod image;
mod image_store;
mod reaching;
mod stores;

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use uuid::Uuid;
use wharfinger_jobs::engine::{Engine, EngineError, PullEvent, PullName};

use image::TestImage;

/// Longer than anything here takes: what hangs fails, and says where.
const SOON: Duration = Duration::from_mins(1);

fn env(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `make test`, which starts the servers"))
}

fn docker_host() -> String {
    env("WHARFINGER_TEST_DOCKER_HOST_1")
}

fn engine() -> Engine {
    Engine::connect(Some(&docker_host())).unwrap()
}

/// A reference in the test registry that no other test has, as (repository with registry, tag).
struct Place {
    registry: String,
    path: String,
}

impl Place {
    fn new() -> Self {
        let path = format!("engine/{}", Uuid::new_v4().simple());
        Self {
            registry: env("WHARFINGER_TEST_REGISTRY"),
            path,
        }
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    fn name(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository())
    }

    fn pull_name(&self, tag: &str) -> PullName {
        PullName::new(&self.repository(), Some(tag), None)
    }

    async fn push(&self, tag: &str, image: &TestImage) {
        http::push(&self.registry, &self.path, tag, image).await;
    }
}

/// Everything that a pull says, up to its error.
async fn all(
    events: impl Stream<Item = Result<PullEvent, EngineError>>,
) -> (Vec<PullEvent>, Option<EngineError>) {
    let mut events = std::pin::pin!(events);
    let mut said = Vec::new();
    let collect = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => said.push(event),
                Err(error) => return Some(error),
            }
        }
        None
    };
    let error = tokio::time::timeout(SOON, collect)
        .await
        .expect("the pull hangs");
    (said, error)
}

/// Pulls, and fails unless it succeeds.
async fn pull(engine: &Engine, name: &PullName) -> Vec<PullEvent> {
    let (events, error) = all(engine.pull(name, None)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events.last(), Some(&PullEvent::Finished));
    events
}
