//! Pulls that fail, and whose fault it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;
use wharfinger_jobs::engine::{EngineError, EngineLogin, LayerStep, PullEvent, PullName};
use wharfinger_jobs::progress::ProgressTracker;

use super::{
    Place, SOON, all, engine, id, image, is_download, manifest_layers, pull, registry_answer,
};
use crate::support::http::serve;

fn at(registry: &str) -> PullName {
    let repository = format!("{registry}/engine/{}", Uuid::new_v4().simple());
    PullName::new(&repository, Some("1"), None)
}

async fn failure(name: &PullName) -> EngineError {
    let (events, error) = all(engine().pull(name, None)).await;
    error.unwrap_or_else(|| panic!("it succeeded: {events:?}"))
}

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_not_found() {
    let place = Place::new();
    let missing = failure(&place.pull_name("1")).await;
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing:?}");
    place.push("1", &image(&[10])).await;
    let missing = failure(&place.pull_name("2")).await;
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing:?}");
    assert!(missing.to_string().contains(&place.name("2")), "{missing}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let (gone, serving) = serve(|request| request.answer("200 OK", "", b"")).await;
    drop(serving);
    for registry in [gone.as_str(), "registry.invalid"] {
        let error = failure(&at(registry)).await;
        assert_eq!(kind(&error), "registry", "{error:?}");
    }
}

fn kind(error: &EngineError) -> &'static str {
    match error {
        EngineError::Denied(_) => "denied",
        EngineError::RateLimited(_) => "rate",
        EngineError::RegistryUnavailable(_) => "registry",
        EngineError::NotFound(_) => "not found",
        _ => "another",
    }
}

#[tokio::test]
async fn what_a_registry_refuses() {
    let said = |code: &str, message: &str| {
        json!({"errors": [{"code": code, "message": message}]}).to_string()
    };
    let (too_many, limit) = (
        "429 Too Many Requests",
        "You have reached your pull rate limit.",
    );
    for (status, body, expected) in [
        ("403 Forbidden", said("DENIED", "no"), "denied"),
        ("403 Forbidden", "<html>".to_owned(), "denied"),
        (
            "401 Unauthorized",
            said("UNAUTHORIZED", "authentication required"),
            "denied",
        ),
        (too_many, said("TOOMANYREQUESTS", limit), "rate"),
        (too_many, "slow down".to_owned(), "rate"),
        ("500 Internal Server Error", String::new(), "registry"),
        ("503 Service Unavailable", "<html>".to_owned(), "registry"),
        (
            "404 Not Found",
            said("MANIFEST_UNKNOWN", "manifest unknown"),
            "not found",
        ),
    ] {
        let served = body.clone();
        let (registry, _serving) = serve(move |request| {
            let body = served.clone();
            async move {
                if request.path == "/v2/" {
                    return request.answer("200 OK", "", b"").await;
                }
                let headers = "Content-Type: application/json\r\n";
                request.answer(status, headers, body.as_bytes()).await;
            }
        })
        .await;
        let error = failure(&at(&registry)).await;
        assert_eq!(kind(&error), expected, "{status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn a_login_is_shown_to_the_registry() {
    let image = Arc::new(image(&[10]));
    let (registry, _serving) = serve(move |request| {
        let image = Arc::clone(&image);
        async move {
            // ada:lovelace
            let is_ada = |header: &String| {
                header.eq_ignore_ascii_case("Authorization: Basic YWRhOmxvdmVsYWNl")
            };
            if request.headers.iter().any(is_ada) {
                let (headers, body) = registry_answer(&image, &request.path).unwrap();
                request.answer("200 OK", &headers, &body).await;
            } else {
                let challenge = "WWW-Authenticate: Basic realm=\"test\"\r\n";
                request.answer("401 Unauthorized", challenge, b"").await;
            }
        }
    })
    .await;
    let name = at(&registry);
    let error = failure(&name).await;
    assert!(matches!(error, EngineError::Denied(_)), "{error:?}");
    let login = |secret: &str| EngineLogin {
        registry: registry.clone(),
        username: "ada".to_owned(),
        secret: secret.to_owned().into(),
    };
    let (_, error) = all(engine().pull(&name, Some(&login("byron")))).await;
    assert!(matches!(error, Some(EngineError::Denied(_))), "{error:?}");
    let (_, error) = all(engine().pull(&name, Some(&login("lovelace")))).await;
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_is_lost_in_the_middle_is_unavailable() {
    let image = Arc::new(image(&[1000]));
    let (registry, _serving) = serve(move |mut request| {
        let image = Arc::clone(&image);
        async move {
            let (headers, body) = registry_answer(&image, &request.path).unwrap();
            // Not inside the layer: the engine tries that five times in fifty seconds before it gives up.
            if body == image.config() {
                request
                    .begin("200 OK", &headers, body.len(), &body[..50])
                    .await;
            } else {
                request.answer("200 OK", &headers, &body).await;
            }
        }
    })
    .await;
    let error = failure(&at(&registry)).await;
    assert_eq!(kind(&error), "registry", "{error:?}");
}

/// Takes five seconds, after which the engine tries a layer again.
#[tokio::test]
async fn a_layer_that_the_engine_resumes_never_goes_back() {
    let image = Arc::new(image(&[400_000]));
    let is_broken = Arc::new(AtomicBool::new(false));
    let served = Arc::clone(&image);
    let (registry, _serving) = serve(move |mut request| {
        let (image, is_broken) = (Arc::clone(&served), Arc::clone(&is_broken));
        async move {
            let (headers, body) = registry_answer(&image, &request.path).unwrap();
            if body != image.layers[0] {
                request.answer("200 OK", &headers, &body).await;
            } else if is_broken.swap(true, Ordering::SeqCst) {
                let range =
                    |header: &String| header.strip_prefix("Range: bytes=").map(str::to_owned);
                let range = request.headers.iter().find_map(range).unwrap();
                let from: usize = range.trim_end_matches('-').parse().unwrap();
                let (last, all) = (body.len() - 1, body.len());
                let headers = format!("Content-Range: bytes {from}-{last}/{all}\r\n");
                request
                    .answer("206 Partial Content", &headers, &body[from..])
                    .await;
            } else {
                request
                    .begin("200 OK", &headers, body.len(), &body[..100_000])
                    .await;
            }
        }
    })
    .await;
    let events = pull(&engine(), &at(&registry)).await;
    let now = Instant::now();
    let mut tracker = ProgressTracker::new(manifest_layers(&image));
    let retries = |event: &PullEvent| {
        matches!(
            event,
            PullEvent::Layer {
                step: LayerStep::Retrying,
                ..
            }
        )
    };
    assert!(events.iter().any(retries), "{events:?}");
    let mut before = 0;
    for event in &events {
        tracker.apply(event, now);
        let downloaded = tracker.snapshot(now).downloaded;
        assert!(downloaded >= before, "{event:?}");
        before = downloaded;
    }
    assert_eq!(before, image.layers[0].len() as u64);
}

#[tokio::test]
async fn dropping_a_pull_makes_the_engine_let_go_of_the_registry() {
    let image = Arc::new(image(&[8_000_000]));
    let (let_go, mut is_let_go) = mpsc::unbounded_channel();
    let served = Arc::clone(&image);
    let (registry, _serving) = serve(move |mut request| {
        let (image, let_go) = (Arc::clone(&served), let_go.clone());
        async move {
            let (headers, body) = registry_answer(&image, &request.path).unwrap();
            if body == image.layers[0] {
                request
                    .begin("200 OK", &headers, body.len(), &body[..200_000])
                    .await;
                // The engine looks at a connection that it gave up when the next bytes arrive.
                request.trickle(&body[200_000..]).await;
                let_go.send(()).unwrap();
            } else {
                request.answer("200 OK", &headers, &body).await;
            }
        }
    })
    .await;
    let engine = engine();
    let mut events = engine.pull(&at(&registry), None).boxed();
    let has_begun = async {
        while let Some(event) = events.next().await {
            if is_download(&event.unwrap()) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, has_begun).await.unwrap();
    assert!(is_let_go.try_recv().is_err());
    drop(events);
    let told = tokio::time::timeout(SOON, is_let_go.recv()).await;
    assert_eq!(told.expect("the engine still pulls"), Some(()));
    assert_eq!(engine.inspect(&id(&image)).await.unwrap(), None);
    // The engine is as good as before, and joins no pull that nobody follows.
    let place = Place::new();
    place.push("1", &image).await;
    pull(&engine, &place.pull_name("1")).await;
}
