//! Blobs that a registry has to deliver whole, and manifests that are told to those who were given them.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::net::TcpListener;
use wharfinger_jobs::registry::{Blob, BlobError, Delivered, RegistryError};
use wharfinger_jobs::testing::image::digest_of;
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use super::fake::{Answer, Asked, Fake};
use super::hostile::image;
use super::{client, read};

const STALL: Duration = Duration::from_secs(20);

async fn deliver(address: &str, blob: Blob<'_>, stall: Duration) -> Result<Delivered, BlobError> {
    let came = AtomicU64::new(0);
    let client = client(&["127.0.0.1:*"]);
    let delivering = client.deliver(address, "a/b", blob, None, stall, |bytes| {
        came.store(bytes, Ordering::SeqCst);
    });
    let delivered = delivering.await?;
    assert_eq!(came.load(Ordering::SeqCst), blob.size);
    Ok(delivered)
}

fn blob<'a>(digest: &'a str, content: &[u8], media_type: &'a str) -> Blob<'a> {
    Blob {
        digest,
        size: content.len() as u64,
        media_type: Some(media_type),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    // Two frames, after one that is to be skipped.
    let frame = |content| zstd::encode_all(content, 3).unwrap();
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    [
        skipped,
        frame(&content[..90_000]),
        frame(&content[90_000..]),
    ]
    .concat()
}

#[tokio::test]
async fn what_is_delivered_is_told_with_what_it_is_uncompressed() {
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    const DOCKERS: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let content = vec![7; 300_000];
    // Two members, as some tools write them.
    let members = [gzip(&content[..100_000]), gzip(&content[100_000..])].concat();
    for (body, kind, uncompressed) in [
        (content.clone(), TAR, Some(&content[..])),
        (members, DOCKERS, Some(&content)),
        (zstd(&content), ZSTD, Some(&content)),
        // Engines tell the compression by the first bytes, whatever the type says.
        (gzip(&content), TAR, Some(&content)),
        (content.clone(), GZIP, Some(&content)),
        (b"BZh9, and more".to_vec(), TAR, None),
        (gzip(&content)[..200].to_vec(), GZIP, None),
        (b"tar".to_vec(), TAR, Some(b"tar")),
    ] {
        let diff_id = uncompressed.map(digest_of);
        let digest = digest_of(&body);
        let served = body.clone();
        let server = Fake::start(move |_: &Asked| Answer::new(200, served.clone())).await;
        let delivered = deliver(&server.address, blob(&digest, &body, kind), STALL).await;
        assert_eq!(delivered.unwrap(), Delivered { diff_id }, "{kind}");
        assert_eq!(server.asked()[0].path, format!("/v2/a/b/blobs/{digest}"));
    }
}

#[tokio::test]
async fn a_bomb_is_not_unpacked_to_its_end() {
    let body = gzip(&vec![0; 100_000_000]);
    let (digest, served) = (digest_of(&body), body.clone());
    let server = Fake::start(move |_: &Asked| Answer::new(200, served.clone())).await;
    let delivered = deliver(&server.address, blob(&digest, &body, "tar+gzip"), STALL).await;
    assert_eq!(delivered.unwrap(), Delivered { diff_id: None });
}

#[tokio::test]
async fn other_bytes_and_more_bytes_are_refused() {
    let content = b"the content".to_vec();
    let digest = digest_of(&content);
    for body in [
        b"something".to_vec(),
        [content.clone(), vec![0; 10]].concat(),
        Vec::new(),
    ] {
        let server = Fake::start(move |_: &Asked| Answer::new(200, body.clone())).await;
        let refused = deliver(&server.address, blob(&digest, &content, "tar"), STALL).await;
        let error = refused.unwrap_err();
        assert!(
            matches!(error, BlobError::Registry(RegistryError::Invalid { .. })),
            "{error}"
        );
    }
    let partial = Fake::start(|_: &Asked| Answer::new(206, "x")).await;
    let refused = deliver(&partial.address, blob(&digest, &content, "tar"), STALL).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn a_registry_that_has_it_not_or_sends_elsewhere_is_told_from_one_that_is_silent() {
    let (digest, content) = (digest_of(b"x"), b"x");
    let asked = blob(&digest, content, "tar");
    let missing = Fake::start(|_: &Asked| Answer::new(404, "")).await;
    let error = deliver(&missing.address, asked, STALL).await.unwrap_err();
    assert!(
        matches!(error, BlobError::Registry(RegistryError::NotFound { .. })),
        "{error}"
    );
    let inner = "http://127.0.0.2:1/secret";
    let sends = Fake::start(move |_: &Asked| Answer::new(307, "").with("Location", inner)).await;
    let error = deliver(&sends.address, asked, STALL).await.unwrap_err();
    assert!(
        matches!(error, BlobError::Registry(RegistryError::NotAllowed(_))),
        "{error}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let error = deliver(&silent, asked, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, BlobError::Stalled(_)), "{error}");
}

#[tokio::test]
async fn a_registry_gives_a_blob_to_a_login_in_a_repository() {
    let registry = TestRegistry::with_password();
    let pushed = registry
        .push_layers("private", "1", vec![vec![1; 1000]])
        .await;
    let login = wharfinger_jobs::registry::Login::new(USERNAME, PASSWORD);
    let client = client(&["127.0.0.1:*"]);
    let digest = &pushed.config_digest;
    let gives = |repository, login| client.gives(&registry.address, repository, digest, login);
    assert!(gives("private", Some(&login)).await.unwrap());
    assert!(!gives("private", None).await.unwrap());
    assert!(!gives("other", Some(&login)).await.unwrap());
}

#[tokio::test]
async fn only_a_refusal_says_that_a_registry_does_not_give_a_blob() {
    let digest = digest_of(b"x");
    for (status, gives) in [
        (200, Some(true)),
        (206, Some(true)),
        (401, Some(false)),
        (403, Some(false)),
        (404, Some(false)),
        (416, Some(false)),
        (429, None),
        (503, None),
    ] {
        let server = Fake::start(move |_: &Asked| Answer::new(status, "x")).await;
        let client = client(&["127.0.0.1:*"]);
        let answer = client.gives(&server.address, "a/b", &digest, None).await;
        assert_eq!(answer.as_ref().ok(), gives.as_ref(), "{status} {answer:?}");
    }
}

#[tokio::test]
async fn a_registry_that_keeps_blobs_elsewhere_is_asked_for_the_first_byte() {
    for (status, gives) in [(206, true), (404, false)] {
        let server = Fake::start(move |asked: &Asked| match asked.headers.get("range") {
            Some(_) => Answer::new(status, "x"),
            // Where only a GET is signed.
            None => Answer::new(307, "").with("location", "/elsewhere"),
        })
        .await;
        let client = client(&["127.0.0.1:*"]);
        let digest = digest_of(b"x");
        let answer = client.gives(&server.address, "a/b", &digest, None);
        assert_eq!(answer.await.unwrap(), gives);
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_manifest_with_a_huge_config_or_layers_that_engines_mix_up_is_refused() {
    let (manifest, kind) = image();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let mut huge = manifest.clone();
    huge["config"]["size"] = json!(4 * 1024 * 1024 + 1);
    let layer = |end: &str| {
        let digest = format!("sha256:{:0<63}{end}", "0123456789ab");
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 1, "digest": digest})
    };
    let mut alike = manifest.clone();
    alike["layers"] = json!([layer("1"), layer("2")]);
    let mut twice = manifest;
    twice["layers"] = json!([layer("1"), layer("1")]);
    for (manifest, refused) in [(huge, true), (alike, true), (twice, false)] {
        let body = serde_json::to_vec(&manifest).unwrap();
        let server = Fake::start(move |_: &Asked| Answer::new(200, body.clone())).await;
        let client = client(&["127.0.0.1:*"]);
        let read = read(&client, &server.address, "a/b", None).await;
        let unsupported = matches!(&read, Err(error) if error.is_unsupported());
        assert_eq!(unsupported, refused, "{kind} {read:?}");
        assert_eq!(read.is_ok(), !refused);
    }
}

#[tokio::test]
async fn a_manifest_is_told_to_nobody_who_was_not_given_it() {
    let (manifest, kind) = image();
    let digest = digest_of(&manifest);
    let platform = json!({"os": "linux", "architecture": "amd64"});
    let entry =
        json!({"mediaType": kind, "digest": digest, "size": manifest.len(), "platform": platform});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let index = serde_json::to_vec(&index).unwrap();
    let serve = |gives: bool| {
        let (index, manifest) = (index.clone(), manifest.clone());
        Fake::start(move |asked: &Asked| match asked.path.rsplit('/').next() {
            Some("v1") => Answer::new(200, index.clone()),
            _ if gives => Answer::new(200, manifest.clone()),
            _ => Answer::new(404, ""),
        })
    };
    let (owner, thief) = (serve(true).await, serve(false).await);
    let client = client(&["127.0.0.1:*"]);
    let read = async |server: &Fake, repository: &str| {
        read(&client, &server.address, repository, None).await
    };
    read(&owner, "a/b").await.unwrap();
    let error = read(&thief, "a/b").await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    // In its repository it is kept.
    let asked = owner.asked().len();
    read(&owner, "a/b").await.unwrap();
    assert_eq!(owner.asked().len(), asked + 1);
    read(&owner, "c/d").await.unwrap();
    assert_eq!(owner.asked().len(), asked + 3);
}
