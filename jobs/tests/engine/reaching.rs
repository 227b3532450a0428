//! Engines that are there, gone, silent, back, or another one than before.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;
use wharfinger_jobs::engine::{Engine, EngineError, PullName};

use super::{SOON, docker_host, engine, image, is_download, registry_answer};
use crate::support::http::{Request, serve};

fn is_unavailable<T>(answer: &Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::Unavailable { .. }))
}

/// The real engine at another socket, for as long as this lives: dropping it is the engine's end.
fn engine_at(socket: &Path) -> AbortOnDropHandle<()> {
    let real = docker_host().strip_prefix("unix://").unwrap().to_owned();
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let real = real.clone();
            connections.spawn(async move {
                let mut engine = UnixStream::connect(real).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    }))
}

#[tokio::test]
async fn an_engine_tells_what_it_is() {
    let engine = engine();
    engine.ping().await.unwrap();
    let info = engine.info().await.unwrap();
    let numbered = info.version.starts_with(|c: char| c.is_ascii_digit());
    assert!(numbered, "{info:?}");
    assert_eq!(info.platform().split('/').next(), Some("linux"));
    assert!(info.root_dir.is_some());
    assert!(info.storage_used.unwrap() <= info.storage_total.unwrap());
}

#[tokio::test]
async fn an_engine_that_goes_in_the_middle_of_a_pull_is_unavailable_until_it_is_back() {
    let image = Arc::new(image(&[400_000]));
    let (registry, _serving) = serve(move |mut request| {
        let image = Arc::clone(&image);
        async move {
            let (headers, body) = registry_answer(&image, &request.path).unwrap();
            if body == image.layers[0] {
                request
                    .begin("200 OK", &headers, body.len(), &body[..200_000])
                    .await;
                request.closed().await;
            } else {
                request.answer("200 OK", &headers, &body).await;
            }
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let engine = Engine::connect(Some(&format!("unix://{}", socket.display()))).unwrap();
    assert!(is_unavailable(&engine.ping().await));

    let running = engine_at(&socket);
    engine.ping().await.unwrap();
    let name = PullName::new(&format!("{registry}/engine/gone"), Some("1"), None);
    let mut events = engine.pull(&name, None).boxed();
    let mut next = async || tokio::time::timeout(SOON, events.next()).await.unwrap();
    loop {
        let event = next().await.expect("the pull ended").unwrap();
        if is_download(&event) {
            break;
        }
    }
    drop(running);
    let error = loop {
        match next().await.expect("the pull ended without an error") {
            Ok(_) => {}
            error => break error,
        }
    };
    assert!(is_unavailable(&error), "{error:?}");
    assert!(next().await.is_none());
    assert!(is_unavailable(&engine.list().await));
    assert!(is_unavailable(&engine.inspect("x:1").await));

    let _running = engine_at(&socket);
    engine.ping().await.unwrap();
}

/// An engine of which only the version is real, that of API `1.{newest}`.
#[derive(Default)]
struct FakeEngine {
    newest: AtomicU32,
    answered_in: Mutex<Vec<u32>>,
}

impl FakeEngine {
    async fn answer(&self, request: Request) {
        let newest = self.newest.load(Ordering::SeqCst);
        let version = request.path.strip_prefix("/v1.");
        let Some((version, _)) = version.and_then(|path| path.split_once('/')) else {
            assert_eq!(request.path, "/version");
            let body = format!(r#"{{"ApiVersion":"1.{newest}"}}"#);
            return request.answer("200 OK", "", body.as_bytes()).await;
        };
        let version: u32 = version.parse().unwrap();
        if version > newest {
            let body = format!(
                r#"{{"message":"client version 1.{version} is too new. Maximum supported API version is 1.{newest}"}}"#
            );
            request.answer("400 Bad Request", "", body.as_bytes()).await;
        } else {
            self.answered_in.lock().unwrap().push(version);
            request.answer("200 OK", "", b"OK").await;
        }
    }
}

#[tokio::test]
async fn an_engine_that_was_replaced_by_an_older_one_is_spoken_to_in_its_version() {
    let fake = Arc::new(FakeEngine::default());
    fake.newest.store(44, Ordering::SeqCst);
    let serving = Arc::clone(&fake);
    let (address, _serving) = serve(move |request| {
        let fake = Arc::clone(&serving);
        async move { fake.answer(request).await }
    })
    .await;
    let engine = Engine::connect(Some(&format!("tcp://{address}"))).unwrap();
    engine.ping().await.unwrap();
    fake.newest.store(41, Ordering::SeqCst);
    engine.ping().await.unwrap();
    engine.clone().ping().await.unwrap();
    assert_eq!(*fake.answered_in.lock().unwrap(), [44, 41, 41]);
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_unavailable_after_a_deadline() {
    let (address, _serving) = serve(Request::closed).await;
    let engine = Engine::connect(Some(&format!("http://{address}"))).unwrap();
    let pull = engine.pull(&PullName::new("localhost/x", None, None), None);
    let mut pull = std::pin::pin!(pull);
    let (ping, pulled) = tokio::join!(engine.ping(), pull.next());
    let pulled = pulled.unwrap();
    assert!(is_unavailable(&ping), "{ping:?}");
    assert!(is_unavailable(&pulled), "{pulled:?}");
    let words = "did not answer within";
    assert!(ping.unwrap_err().to_string().contains(words));
}

#[tokio::test]
async fn what_is_no_engine_is_said_to_be_none() {
    let (address, _serving) = serve(|request| request.answer("200 OK", "", b"<html>")).await;
    let engine = Engine::connect(Some(&format!("tcp://{address}"))).unwrap();
    let error = engine.ping().await.unwrap_err();
    assert!(matches!(error, EngineError::Other { .. }), "{error:?}");
}
