//! A Docker engine and a registry that answer at once, so that what is left is Wharfinger's own work. Each repository of
//! the registry has one image; the engine has it once it was asked to pull it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;

/// Unpacked bytes of every image.
const SIZE: u32 = 1_000_000;

#[derive(Clone, Default)]
struct Engine {
    /// The name of each image, by its name and by its id.
    pulled: Arc<Mutex<HashMap<String, String>>>,
}

/// Starts both on one port and returns it.
pub(crate) async fn start() -> Outcome<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let engine = Engine::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(async move { engine.serve(stream).await });
        }
    });
    Ok(port)
}

impl Engine {
    /// Answers one request after another; their bodies are empty.
    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        loop {
            let mut first = String::new();
            if stream.read_line(&mut first).await? == 0 {
                return Ok(());
            }
            let mut line = String::new();
            while stream.read_line(&mut line).await? > 2 {
                line.clear();
            }
            let mut words = first.split(' ');
            let method = words.next().unwrap_or_default();
            let target = words
                .next()
                .unwrap_or_default()
                .replace("%3A", ":")
                .replace("%2F", "/");
            let (status, kind, body) = self.answer(&target);
            let length = body.len();
            let digest = image_digest(&body);
            let body = if method == "HEAD" { "" } else { &body };
            let reply = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\napi-version: 1.41\r\ndocker-content-digest: {digest}\r\n\r\n{body}"
            );
            stream.write_all(reply.as_bytes()).await?;
        }
    }

    fn answer(&self, target: &str) -> (&'static str, &'static str, String) {
        let json = "application/json";
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(manifest) = manifest(path) {
            return (
                "200 OK",
                "application/vnd.oci.image.manifest.v1+json",
                manifest,
            );
        }
        // Without the version: /v1.41/info.
        let path = match path.strip_prefix("/v1.") {
            Some(rest) => rest.find('/').map_or(path, |slash| &rest[slash..]),
            None => path,
        };
        let value = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
        };
        match path {
            "/version" => ("200 OK", json, r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#.into()),
            "/info" => ("200 OK", json, r#"{"ServerVersion":"20.10.24","OSType":"linux","Architecture":"x86_64"}"#.into()),
            "/_ping" => ("200 OK", "text/plain", "OK".into()),
            "/images/json" => ("200 OK", json, self.list()),
            "/containers/json" => ("200 OK", json, "[]".into()),
            "/images/create" => {
                let (name, tag) = (value("fromImage"), value("tag"));
                let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
                let name = format!("{name}{separator}{tag}");
                let mut pulled = self.pulled();
                let words = words_of_a_pull(&name);
                pulled.insert(image_id(&name), name.clone());
                pulled.insert(name.clone(), name);
                ("200 OK", json, words)
            }
            _ if path.starts_with("/images/") && path.ends_with("/tag") => {
                let name = format!("{}:{}", value("repo"), value("tag"));
                self.pulled().insert(name.clone(), name);
                ("201 Created", json, String::new())
            }
            _ => {
                let wanted = path
                    .strip_prefix("/images/")
                    .and_then(|rest| rest.strip_suffix("/json"))
                    .unwrap_or_default();
                let found = self.pulled().get(wanted).cloned();
                match found {
                    Some(name) => ("200 OK", json, format!(
                        r#"{{"Id":"{}","RepoTags":["{name}"],"RepoDigests":[],"Size":{SIZE},"Os":"linux","Architecture":"amd64","Config":{{"ExposedPorts":{{"6379/tcp":{{}}}}}}}}"#,
                        image_id(&name)
                    )),
                    None => ("404 Not Found", json, r#"{"message":"No such image"}"#.into()),
                }
            }
        }
    }

    fn list(&self) -> String {
        let images: Vec<String> = self
            .pulled()
            .iter()
            .filter(|(key, name)| key == name)
            .map(|(name, _)| {
                format!(
                    r#"{{"Id":"{}","ParentId":"","RepoTags":["{name}"],"RepoDigests":[],"Created":0,"Size":{SIZE},"SharedSize":-1,"VirtualSize":{SIZE},"Labels":{{}},"Containers":-1}}"#,
                    image_id(name)
                )
            })
            .collect();
        format!("[{}]", images.join(","))
    }

    fn pulled(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifest at `/v2/REPOSITORY/manifests/TAG`: its config is named after the repository.
fn manifest(path: &str) -> Option<String> {
    let (repository, _tag) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
    Some(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":100,"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":{},"digest":"{}"}}]}}"#,
        image_digest(repository),
        SIZE / 2,
        image_digest(&format!("{repository} layer"))
    ))
}

/// What an engine says while it fetches the one layer of an image: without a word of it, the image was there.
fn words_of_a_pull(name: &str) -> String {
    let layer = image_digest(&format!("{} layer", repository(name)));
    let id = &layer["sha256:".len()..][..12];
    let mut words = String::new();
    for status in ["Pulling fs layer", "Download complete", "Pull complete"] {
        let _ = writeln!(
            words,
            r#"{{"status":"{status}","progressDetail":{{}},"id":"{id}"}}"#
        );
    }
    words + "{\"status\":\"Status: Downloaded newer image\"}\n"
}

/// The image id of a pulled name.
fn image_id(name: &str) -> String {
    image_digest(repository(name))
}

/// The repository of a pulled name, `127.0.0.1:5000/bench/1:v` or `127.0.0.1:5000/bench/1@sha256:…`.
fn repository(name: &str) -> &str {
    let repository = name.split_once('/').map_or(name, |(_, rest)| rest);
    repository
        .split_once(['@', ':'])
        .map_or(repository, |(left, _)| left)
}

fn image_digest(of: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(of.as_bytes())))
}
