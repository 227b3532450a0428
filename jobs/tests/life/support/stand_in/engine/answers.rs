//! The engine's HTTP API, as far as Wharfinger asks.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, future, stream};
use serde_json::{Value, json};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};

use super::super::{Image, http, lock};
use super::store::{Refused, Store};
use super::{Parts, PullFault, UNPACKING};
use crate::support::Counted;

pub(super) fn answer(parts: &Parts, method: &Method, uri: &Uri) -> Response {
    let path = http::decoded(uri.path());
    // Without the version: /v1.41/info.
    let path = match path.strip_prefix("/v1.") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path.as_str(),
    };
    let query = Query::new(uri);
    match (method.as_str(), path) {
        (_, "/_ping") => ([("api-version", "1.41")], "OK").into_response(),
        (_, "/version") => Json(json!({
            "Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
        }))
        .into_response(),
        (_, "/info") => Json(json!({
            "ServerVersion": "20.10.24", "OSType": "linux", "Architecture": "x86_64",
        }))
        .into_response(),
        (_, "/events") => events(parts),
        (_, "/containers/json") => Json(containers(&lock(&parts.store))).into_response(),
        (_, "/images/json") => Json(list(&lock(&parts.store))).into_response(),
        ("POST", "/images/create") => {
            pull(parts.clone(), &query.value("fromImage"), &query.value("tag"))
        }
        (method, path) => of_image(parts, method, path, &query),
    }
}

/// `/images/NAME…`
fn of_image(parts: &Parts, method: &str, path: &str, query: &Query) -> Response {
    let name = path.strip_prefix("/images/").unwrap_or_default();
    let mut store = lock(&parts.store);
    match (method, name.rsplit_once('/')) {
        ("GET", Some((name, "json")))
            if store
                .hidden
                .take_if(|hidden| hidden.as_str() == name)
                .is_some() =>
        {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the storage is upset")
        }
        ("GET", Some((name, "json"))) => match store.find(name) {
            Some(image) => Json(describe(&store, image)).into_response(),
            None => no_such_image(name),
        },
        ("POST", Some((id, "tag"))) => {
            let name = format!("{}:{}", query.value("repo"), query.value("tag"));
            if store.tag(id, &name) {
                if store.hides.as_deref() == Some(id) {
                    store.hidden = store.hides.take();
                }
                StatusCode::CREATED.into_response()
            } else {
                no_such_image(id)
            }
        }
        ("DELETE", _) => match store.remove(name) {
            Ok(deleted) => {
                drop(store);
                for id in &deleted {
                    parts.tell("delete", id);
                }
                let untagged = json!({"Untagged": name});
                let deleted = deleted.iter().map(|id| json!({"Deleted": id}));
                Json(std::iter::once(untagged).chain(deleted).collect::<Vec<_>>()).into_response()
            }
            Err(Refused::NoSuchImage) => no_such_image(name),
            Err(Refused::Conflict(message)) => refusal(StatusCode::CONFLICT, &message),
            Err(Refused::Broken) => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "the storage is upset")
            }
        },
        _ => refusal(StatusCode::NOT_FOUND, "page not found"),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

fn no_such_image(name: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("No such image: {name}"))
}

/// The events of a pull. Like an engine's, it ends with its request.
fn pull(parts: Parts, repository: &str, reference: &str) -> Response {
    let path = repository
        .split_once('/')
        .map_or(repository, |(_, path)| path);
    let Some((digest, image)) = lock(&parts.registry).find(path, reference) else {
        let message = format!("manifest for {repository}@{reference} not found: manifest unknown");
        return refusal(StatusCode::NOT_FOUND, &message);
    };
    lock(&parts.store).pulls += 1;
    let first = json!({"status": format!("Pulling from {path}"), "id": reference});
    let unpacking = unpacking(&parts, &image);
    let name = format!("{repository}@{digest}");
    let last = async move {
        let mut open = parts.open.subscribe();
        if !*open.borrow() {
            let _waiting = Counted::among(&parts.waiting);
            // The engine lives as long as whoever could close the channel.
            let _ = open.wait_for(|open| *open).await;
        }
        let fault = {
            let mut store = lock(&parts.store);
            let refused = store.refused.contains(&image.id);
            store
                .pull_faults
                .pop()
                .or(refused.then_some(PullFault::Denied))
        };
        if fault == Some(PullFault::Silent) {
            future::pending::<()>().await;
        }
        let mut store = lock(&parts.store);
        let was_there = store.find(&image.id).is_some();
        if fault.is_none() {
            store.bring(&image);
            store.tag(&image.id, &name);
        }
        drop(store);
        let words = match fault {
            None => {
                let status =
                    json!({"status": format!("Status: Downloaded newer image for {name}")});
                let layer = json!({"status": "Pull complete", "id": &image.layer()[7..19]});
                // An engine that has the image speaks of no layer.
                if was_there {
                    return format!("{status}\r\n");
                }
                return format!("{layer}\r\n{status}\r\n");
            }
            Some(fault) => {
                let message = match fault {
                    PullFault::DiskFull => "write /var/lib/docker/tmp/x: no space left on device",
                    PullFault::CutOff | PullFault::Silent => "unexpected EOF",
                    PullFault::Denied => "denied: requested access to the resource is denied",
                };
                json!({"errorDetail": {"message": message}, "error": message})
            }
        };
        format!("{words}\r\n")
    };
    let lines = stream::once(future::ready(format!("{first}\r\n")))
        .chain(unpacking)
        .chain(stream::once(last));
    Body::from_stream(lines.map(Ok::<_, Infallible>)).into_response()
}

/// What an engine tells while it unpacks the layer of an image, if it is to.
fn unpacking(parts: &Parts, image: &Image) -> impl Stream<Item = String> + Send + use<> {
    let (open, unpacked) = (parts.open.subscribe(), parts.unpacked.clone());
    let id = image.layer()[7..19].to_owned();
    let ticks = IntervalStream::new(tokio::time::interval(UNPACKING));
    ticks
        .take_while(move |_| future::ready(unpacked.borrow().is_some() && !*open.borrow()))
        .enumerate()
        .map({
            let unpacked = parts.unpacked.clone();
            move |(step, _)| {
                let told = step as u64 + 1;
                unpacked.send_modify(|most| *most = (*most).max(Some(told)));
                let event = json!({
                    "status": "Extracting", "id": id,
                    "progressDetail": {"current": told, "total": 1_000_000},
                });
                format!("{event}\r\n")
            }
        })
}

/// The stream of events, until whoever follows hangs up.
fn events(parts: &Parts) -> Response {
    let events = BroadcastStream::new(parts.events.subscribe());
    Body::from_stream(events).into_response()
}

fn describe(store: &Store, image: &Image) -> Value {
    let (tags, digests) = store.names_of(&image.id);
    json!({
        "Id": image.id, "RepoTags": tags, "RepoDigests": digests, "Size": image.size,
        "Os": "linux", "Architecture": "amd64", "Config": {},
        "RootFS": {"Type": "layers", "Layers": [image.layer()]},
    })
}

fn list(store: &Store) -> Vec<Value> {
    let summary = |image: &Image| {
        let (tags, digests) = store.names_of(&image.id);
        json!({
            "Id": image.id, "ParentId": "", "RepoTags": tags, "RepoDigests": digests, "Created": 0,
            "Size": image.size, "SharedSize": -1, "VirtualSize": image.size, "Labels": {}, "Containers": -1,
        })
    };
    store.all().map(summary).collect()
}

fn containers(store: &Store) -> Vec<Value> {
    let container =
        |id: &String| json!({"Id": format!("of-{id}"), "Names": ["/operators"], "ImageID": id});
    store.containers.iter().map(container).collect()
}

/// The parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn new(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }

    fn value(&self, name: &str) -> String {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}
