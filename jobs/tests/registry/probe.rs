//! Where the parts of an image come from, asked before an engine asks.

use serde_json::{Value, json};
use wharfinger_jobs::registry::{Login, Manifest, NotAllowed, RegistryClient, Timeouts};

use super::fake::{Answer, Asked, Fake};
use super::hostile::image;
use super::{TIMEOUTS, client, read, rules};

/// A registry with one image, whose parts it answers for as it is told.
async fn registry(
    manifest: Vec<u8>,
    blob: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> Fake {
    Fake::start(move |asked: &Asked| {
        if asked.path.contains("/manifests/") {
            Answer::new(200, manifest.clone())
        } else {
            blob(asked)
        }
    })
    .await
}

async fn manifest(client: &RegistryClient, server: &Fake, login: Option<&Login>) -> Manifest {
    let read = read(client, &server.address, "a/b", login);
    read.await.unwrap()
}

async fn probe(server: &Fake, allow: &[&str]) -> Result<(), NotAllowed> {
    let client = client(allow);
    let manifest = manifest(&client, server, None).await;
    client.probe(&server.address, "a/b", &manifest, None).await
}

fn to(location: String) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |_: &Asked| Answer::new(307, "").with("Location", location.clone())
}

#[tokio::test]
async fn the_first_byte_of_each_part_is_asked_for_once() {
    let storage = Fake::start(|_: &Asked| Answer::new(206, "x")).await;
    let elsewhere = format!("http://{}/signed", storage.address);
    let server = Fake::start(move |asked: &Asked| {
        if asked.authorization().is_none() {
            Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"")
        } else if asked.path.contains("/manifests/") {
            Answer::new(200, image().0)
        } else {
            Answer::new(307, "").with("Location", elsewhere.clone())
        }
    })
    .await;
    let client = client(&["127.0.0.1:*"]);
    let login = Login::new("ada", "secret");
    let manifest = manifest(&client, &server, Some(&login)).await;
    let before = server.asked().len();
    let probed = client.probe(&server.address, "a/b", &manifest, Some(&login));
    probed.await.unwrap();

    let mut paths: Vec<_> = server.asked().split_off(before);
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    let mut parts = [&manifest.config_digest, &manifest.layers[0].digest];
    parts.sort_unstable();
    let parts: Vec<_> = parts.iter().map(|d| format!("/v2/a/b/blobs/{d}")).collect();
    let asked: Vec<_> = paths.iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(asked, parts);
    assert_eq!(storage.asked().len(), 2);
    for asked in storage.asked() {
        assert_eq!(asked.headers["range"], "bytes=0-0");
        assert_eq!(asked.authorization(), None);
    }
}

#[tokio::test]
async fn a_redirect_inside_is_refused() {
    let inside = Fake::start(|_: &Asked| Answer::new(200, "secret")).await;
    let server = registry(image().0, to(format!("http://{}/", inside.address))).await;
    probe(&server, &["*", &server.address]).await.unwrap_err();
    assert!(inside.asked().is_empty());
    // It is the rules that make the difference.
    probe(&server, &["127.0.0.1:*"]).await.unwrap();
    assert_eq!(inside.asked().len(), 2);
}

/// More hops than a manifest may take, and as many as an engine follows.
#[tokio::test]
async fn a_redirect_inside_is_refused_at_the_last_hop_too() {
    let inside = Fake::start(|_: &Asked| Answer::new(200, "secret")).await;
    let last = format!("http://{}/", inside.address);
    let server = registry(image().0, move |asked: &Asked| {
        let hops = asked
            .path
            .rsplit_once("/hop/")
            .map_or(0, |(_, hops)| hops.parse().unwrap());
        let next = if hops < 9 {
            format!("/hop/{}", hops + 1)
        } else {
            last.clone()
        };
        Answer::new(302, "").with("Location", next)
    })
    .await;
    probe(&server, &["*", &server.address]).await.unwrap_err();
    assert!(inside.asked().is_empty());
}

/// Engines with containerd's image store ask there before they ask the registry.
#[tokio::test]
async fn an_address_in_the_manifest_is_judged() {
    let inside = Fake::start(|_: &Asked| Answer::new(200, "secret")).await;
    let mut document: Value = serde_json::from_slice(&image().0).unwrap();
    let url = format!("http://{}/layer", inside.address);
    document["layers"][0]["urls"] = json!(["ftp://127.0.0.1/", "no URL", url]);
    let bytes = serde_json::to_vec(&document).unwrap();
    let server = registry(bytes, |_: &Asked| Answer::new(206, "x")).await;
    probe(&server, &["*", &server.address]).await.unwrap_err();
    assert!(inside.asked().is_empty());
    probe(&server, &["127.0.0.1:*"]).await.unwrap();
    assert_eq!(inside.asked().len(), 1);
}

#[tokio::test]
async fn whatever_else_goes_wrong_decides_nothing() {
    for status in [200, 401, 404, 416, 429, 500] {
        let server = registry(image().0, move |_: &Asked| Answer::new(status, "")).await;
        probe(&server, &["*", &server.address]).await.unwrap();
    }
    for location in ["/again", "", "ftp://127.0.0.1/", "http://[::1", "http:///"] {
        let server = registry(image().0, to(location.to_owned())).await;
        probe(&server, &["*", &server.address]).await.unwrap();
    }
    // Nor does silence.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to_silence = format!("http://{}/", silent.local_addr().unwrap());
    let server = registry(image().0, to(to_silence)).await;
    let patient = client(&["127.0.0.1:*"]);
    let manifest = manifest(&patient, &server, None).await;
    let total = std::time::Duration::from_millis(200);
    let hurried = RegistryClient::new(rules(&["127.0.0.1:*"]), Timeouts { total, ..TIMEOUTS });
    let probed = hurried.probe(&server.address, "a/b", &manifest, None);
    probed.await.unwrap();
}
