//! Servers whose answers cannot be used.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use wharfinger_entity::clean_text::is_hidden;
use wharfinger_jobs::registry::{
    InvalidAnswer, RegistryClient, RegistryError, Timeouts, UnavailableCause,
};
use wharfinger_jobs::testing::image::{TestImage, digest_of, layer};

use super::fake::{Answer, Asked, Fake};
use super::{TIMEOUTS, amd64, client, is_unavailable, read, rules};

/// The error of reading a manifest from a registry that answers like this.
async fn failure(answer: impl Fn() -> Answer + Send + Sync + 'static) -> RegistryError {
    let server = Fake::start(move |_: &Asked| answer()).await;
    failure_at(&server.address).await
}

async fn failure_at(address: &str) -> RegistryError {
    let client = client(&["127.0.0.1:*"]);
    read(&client, address, "a/b", None).await.unwrap_err()
}

pub(crate) fn image() -> (Vec<u8>, &'static str) {
    TestImage::new(vec![layer("a", b"x")]).manifest()
}

#[tokio::test]
async fn redirects_end() {
    let error = failure(|| Answer::new(302, "").with("Location", "/again")).await;
    let reason = InvalidAnswer::Redirect("too often");
    assert_eq!(invalid(error).to_string(), reason.to_string());
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    const FIVE_MB: usize = 5_000_000;
    for announce in [true, false] {
        let error = failure(move || {
            let answer = Answer::new(200, vec![b' '; FIVE_MB]);
            if announce {
                answer.with("Content-Length", FIVE_MB.to_string())
            } else {
                answer
            }
        });
        let reason = invalid(error.await);
        assert!(matches!(reason, InvalidAnswer::TooLarge(_)), "{reason}");
    }
}

#[tokio::test]
async fn content_has_to_be_what_its_digest_says() {
    let (manifest, _) = image();
    let right = digest_of(&manifest);
    let wrong = digest_of(b"something else");
    for (announced, asked, good) in [
        (&right, &right, true),
        (&right, &wrong, false),
        (&wrong, &right, false),
        (&wrong, &"v1".to_owned(), false),
        (&"nonsense".to_owned(), &"v1".to_owned(), false),
        (&"md5:abcd".to_owned(), &"v1".to_owned(), false),
    ] {
        let (body, announced) = (manifest.clone(), announced.clone());
        let server = Fake::start(move |_: &Asked| {
            Answer::new(200, body.clone()).with("Docker-Content-Digest", announced.clone())
        })
        .await;
        let (client, platform) = (client(&["127.0.0.1:*"]), amd64());
        let read = client.manifest(&server.address, "a/b", asked, None, &platform);
        match read.await {
            Ok(manifest) => assert!(good && manifest.digest == right),
            Err(error) => assert!(!good && matches!(invalid(error), InvalidAnswer::Digest { .. })),
        }
    }
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    let limited = failure(|| Answer::new(429, "").with("Retry-After", "30")).await;
    assert!(matches!(limited, RegistryError::RateLimited { .. }) && limited.is_transient());
    assert_eq!(limited.retry_after(), Some(Duration::from_secs(30)));

    let away = failure(|| Answer::new(503, "").with("Retry-After", "9")).await;
    assert!(is_unavailable(&away) && away.is_transient());
    assert_eq!(away.retry_after(), Some(Duration::from_secs(9)));
    let words = "it answered 503 Service Unavailable";
    assert!(away.to_string().ends_with(words), "{away}");

    let denied = failure(|| Answer::new(403, "")).await;
    assert!(matches!(denied, RegistryError::Denied { .. }) && !denied.is_transient());
}

#[tokio::test]
async fn documents_that_are_no_image_are_refused() {
    let both = json!({"schemaVersion": 2, "manifests": [], "layers": []}).to_string();
    let error = failure(move || Answer::new(200, both.clone())).await;
    assert!(invalid(error).to_string().contains("contradicts itself"));

    let index_type = "application/vnd.oci.image.index.v1+json";
    let posing = move || Answer::new(200, image().0).with("Content-Type", index_type);
    let reason = invalid(failure(posing).await).to_string();
    assert!(reason.contains("contradicts"), "{reason}");

    let old = r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[]}"#;
    let error = failure(move || Answer::new(200, old)).await;
    assert!(matches!(invalid(error), InvalidAnswer::Schema1));

    for nonsense in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":2,"layers":[]}"#,
    ] {
        let error = failure(move || Answer::new(200, nonsense)).await;
        assert!(matches!(error, RegistryError::Invalid { .. }), "{nonsense}");
    }
}

#[tokio::test]
async fn a_platforms_manifest_is_fetched_once_but_the_index_always() {
    let (manifest, media_type) = image();
    let digest = digest_of(&manifest);
    let entry = json!({
        "mediaType": media_type, "size": manifest.len(), "digest": digest,
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let server = Fake::start(move |asked: &Asked| {
        let by_digest = asked.path.ends_with(&digest);
        let body = if by_digest {
            manifest.clone()
        } else {
            index.clone().into_bytes()
        };
        Answer::new(200, body)
    })
    .await;
    let client = client(&["127.0.0.1:*"]);
    for _ in 0..3 {
        let manifest = read(&client, &server.address, "a/b", None).await;
        manifest.unwrap();
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn silence_and_absence_are_unavailability() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let total = Duration::from_millis(50);
    let client = RegistryClient::new(rules(&["127.0.0.1:*"]), Timeouts { total, ..TIMEOUTS });
    let error = read(&client, &address, "a/b", None).await.unwrap_err();
    let timed_out = matches!(
        error,
        RegistryError::Unavailable {
            cause: UnavailableCause::TimedOut(_),
            ..
        }
    );
    assert!(timed_out, "{error:?}");
    let words = "no answer within 50ms";
    assert!(error.to_string().ends_with(words), "{error}");

    drop(silent);
    let message = failure_at(&address).await.to_string();
    assert!(message.contains("Connection refused"), "{message}");
}

#[tokio::test]
async fn a_loopback_registry_with_tls_is_asked_again_with_it() {
    let go = "Client sent an HTTP request to an HTTPS server.";
    let error = failure(move || Answer::new(400, go)).await;
    // The fake one speaks no TLS in truth.
    assert!(is_unavailable(&error), "{error:?}");
}

/// Where neither is spoken, the first failure is the true one: nothing listens there that would understand TLS.
#[tokio::test]
async fn a_registry_without_tls_is_not_said_to_fail_at_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It hangs up on whoever calls.
    let hanging_up = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 64];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
        }
    });
    let nonsense = Fake::start(|_: &Asked| Answer::new(99, "")).await;
    for address in [&address, &nonsense.address] {
        let error = failure_at(address).await;
        assert!(is_unavailable(&error), "{error:?}");
        let message = error.to_string();
        for word in ["tls", "handshake", "corrupt", "certificate"] {
            assert!(!message.to_lowercase().contains(word), "{message}");
        }
    }
    hanging_up.abort();
}

/// A certificate that is not trusted is the reason, and not that HTTP was spoken to it at first.
#[tokio::test]
async fn a_registry_with_a_certificate_of_its_own_is_said_to_have_one() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Without TLS at first, with it then.
    let serving = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = tls.complete_io(&mut stream.unwrap());
        }
    });
    let error = failure_at(&address).await;
    assert!(error.to_string().contains("certificate"), "{error}");
    serving.join().unwrap();
}

/// A refusal of any length is read a little, and counts by its status. What is repeated of an answer is cleaned and bounded.
#[tokio::test]
async fn texts_of_registries_are_bounded() {
    let error = failure(|| Answer::new(404, vec![b'x'; 5_000_000])).await;
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");

    let long = "\u{1b}[31m\u{202e}\0x".repeat(300_000);
    let typed = json!({"schemaVersion": long}).to_string();
    let platform = json!({"architecture": long, "os": "linux"});
    let entry =
        json!({"mediaType": "a", "size": 1, "digest": digest_of(b"a"), "platform": platform});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    for body in [typed, index] {
        let announced = format!("sha256:{}", "\u{202e}".repeat(2000));
        for header in [None, Some(announced)] {
            let body = body.clone();
            let error = failure(move || {
                let answer = Answer::new(200, body.clone());
                match &header {
                    Some(header) => answer.with("Docker-Content-Digest", header),
                    None => answer,
                }
            });
            let error = error.await;
            let message = error.to_string();
            assert!(message.chars().count() < 700, "{}", message.len());
            assert!(!message.chars().any(is_hidden), "{message:?}");
            assert!(format!("{error:?}").len() < 5000);
        }
    }
}

/// 4 MB of layers are counted, and not read.
#[tokio::test]
async fn too_many_layers_are_refused() {
    let (manifest, _) = image();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0].clone();
    manifest["layers"] = vec![layer; 20_000].into();
    let body = manifest.to_string();
    let error = failure(move || Answer::new(200, body.clone())).await;
    assert!(error.is_unsupported(), "{error:?}");
    let reason = invalid(error);
    assert!(
        matches!(reason, InvalidAnswer::TooManyLayers { found: 20_000, .. }),
        "{reason:?}"
    );
}

fn invalid(error: RegistryError) -> InvalidAnswer {
    match error {
        RegistryError::Invalid { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}
