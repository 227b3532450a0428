//! Debian's `docker-registry`, started for a test or shared between tests, and pushing to it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::ensure_crypto_provider;

use super::image::{TestImage, descriptor, digest_of, to_bytes};

/// The only user of a registry that [`TestRegistry::with_password`] starts.
pub const USERNAME: &str = "ada";
/// That user's password.
pub const PASSWORD: &str = "correct horse";
/// bcrypt, the only kind that docker-registry reads.
const HTPASSWD: &str = "ada:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// A running registry on the loopback. One that was started here ends when this is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    /// `127.0.0.1:port`, as in image references.
    pub address: String,
    with_password: bool,
    running: Option<(Child, TempDir)>,
}

/// The digests of a pushed image.
#[derive(Clone, Debug)]
pub struct PushedImage {
    /// The manifest's digest.
    pub digest: String,
    /// The config's digest: the image id in an engine with the classic image store.
    pub config_digest: String,
    manifest: Value,
    architecture: String,
}

impl TestRegistry {
    /// The registry that `WHARFINGER_TEST_REGISTRY` (`host:port`) names, or else a new one. It is open to everyone
    /// and may be shared: use names of your own.
    pub fn open() -> Self {
        match std::env::var("WHARFINGER_TEST_REGISTRY") {
            Ok(address) if !address.is_empty() => Self {
                address,
                with_password: false,
                running: None,
            },
            _ => Self::start(false),
        }
    }

    /// A new registry that only [`USERNAME`] may read and write, with Basic authentication.
    pub fn with_password() -> Self {
        Self::start(true)
    }

    fn start(with_password: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let htpasswd = directory.path().join("htpasswd");
        std::fs::write(&htpasswd, HTPASSWD).unwrap();
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": directory.path().join("data")},
                "delete": {"enabled": true},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "test"},
        });
        if with_password {
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": htpasswd}});
        }
        // JSON is YAML.
        let file = directory.path().join("config.yml");
        std::fs::write(&file, to_bytes(&config)).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Debian's package docker-registry is installed");
        let address = announced_address(&mut child);
        Self {
            address,
            with_password,
            running: Some((child, directory)),
        }
    }

    /// Pushes an image under `name:tag` and returns its digests.
    pub async fn push(&self, name: &str, tag: &str, image: &TestImage) -> PushedImage {
        for blob in &image.blobs() {
            self.push_blob(name, blob).await;
        }
        let config = image.config();
        self.push_blob(name, &config).await;
        let (manifest, media_type) = image.manifest();
        self.push_manifest(name, tag, &manifest, media_type).await;
        PushedImage {
            digest: digest_of(&manifest),
            config_digest: digest_of(&config),
            manifest: descriptor(media_type, &manifest),
            architecture: image.architecture.clone(),
        }
    }

    /// Pushes an image of these layers (uncompressed tars) under `name:tag`.
    pub async fn push_layers(&self, name: &str, tag: &str, layers: Vec<Vec<u8>>) -> PushedImage {
        self.push(name, tag, &TestImage::new(layers)).await
    }

    /// Pushes an OCI index over images that were pushed under the same name, and returns its digest.
    pub async fn push_index(&self, name: &str, tag: &str, images: &[PushedImage]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|image| {
                let mut entry = image.manifest.clone();
                entry["platform"] = json!({"os": "linux", "architecture": image.architecture});
                entry
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        let index = to_bytes(&index);
        self.push_manifest(name, tag, &index, media_type).await;
        digest_of(&index)
    }

    async fn push_blob(&self, name: &str, content: &[u8]) {
        let start = self.request(Method::POST, &format!("/v2/{name}/blobs/uploads/"));
        let started = start.send().await.unwrap();
        assert_eq!(started.status(), StatusCode::ACCEPTED);
        let location = started.headers()["location"].to_str().unwrap();
        let joiner = if location.contains('?') { '&' } else { '?' };
        let digest = digest_of(content);
        let upload = format!("{location}{joiner}digest={digest}");
        let path = upload.strip_prefix(&format!("http://{}", self.address));
        let put = self.request(Method::PUT, path.unwrap_or(&upload));
        let done = put.body(content.to_vec()).send().await.unwrap();
        assert_eq!(done.status(), StatusCode::CREATED);
    }

    async fn push_manifest(&self, name: &str, tag: &str, manifest: &[u8], media_type: &str) {
        let done = self
            .request(Method::PUT, &format!("/v2/{name}/manifests/{tag}"))
            .header("content-type", media_type)
            .body(manifest.to_vec())
            .send()
            .await
            .unwrap();
        let status = done.status();
        assert_eq!(status, StatusCode::CREATED, "{:?}", done.text().await);
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        ensure_crypto_provider();
        let client = Client::builder().no_proxy().tls_certs_only([]).build();
        let url = format!("http://{}{path}", self.address);
        let request = client.unwrap().request(method, url);
        if self.with_password {
            request.basic_auth(USERNAME, Some(PASSWORD))
        } else {
            request
        }
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            // Already ended is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for the log line that tells the port, and keeps reading so that the registry never blocks on its log.
fn announced_address(child: &mut Child) -> String {
    let log = BufReader::new(child.stderr.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                // The receiver is gone once the address is known.
                let _ = sender.send(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    });
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("docker-registry listens")
}
