//! What images, registries and engines say reaches people cleaned and bounded, and costs no job its end.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sea_orm::{ConnectionTrait as _, EntityTrait as _};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use wharfinger_entity::clean_text::{MESSAGE_LENGTH, is_hidden};
use wharfinger_entity::exposed_ports::PORTS_AT_MOST;
use wharfinger_entity::{Credits, JobErrorCode, JobState, engine_image};
use wharfinger_jobs::testing::image::digest_of;

use crate::support::images::{Repository, random_image};
use crate::support::stand_in::http;
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(
    what_an_image_says_of_itself_is_cleaned,
    what_a_registry_says_is_cleaned,
);

mod databases {
    use super::what_the_database_refuses_ends_the_job;

    crate::support::on_every_database!(what_the_database_refuses_ends_the_job);
}

/// NUL is in JSON what no text of PostgreSQL can have.
async fn what_an_image_says_of_itself_is_cleaned(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let mut image = random_image(1000);
    image.exposed_ports = (1..=20_000)
        .rev()
        .map(|port| format!("{port}/tcp"))
        .collect();
    let odd = ["80/tcp\0", "\u{1b}[31m7/udp", "no port", "0/tcp", "9/udp"];
    image.exposed_ports.extend(odd.map(str::to_owned));
    let mut config: Value = serde_json::from_slice(&image.config()).unwrap();
    config["variant"] = json!("v1\0\u{202e}\u{1b}[2J");
    config["config"]["Labels"] = json!({"a\0": "\u{202e}\0"});
    image.odd_config = Some(serde_json::to_vec(&config).unwrap());
    repository.push(&fleet.registry, "1", &image).await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &repository.tag("1")).await;
    let job = fleet.ends(job.id, JobState::Succeeded, 1).await;
    let held = fleet.image(job.image_id.unwrap()).await;
    let row = engine_image::Entity::find_by_id(held.engine_image_id);
    let row = row.one(fleet.services.db.read()).await.unwrap().unwrap();
    assert_eq!(row.platform, "linux/amd64/v1");
    let ports = row.exposed_ports.to_strings();
    assert_eq!(ports.len(), PORTS_AT_MOST);
    assert_eq!(ports[..3], ["1/tcp", "2/tcp", "3/tcp"]);
    assert_eq!(ports[9], "9/udp");
    fleet.removed(user, held.id).await;
    fleet.finish().await;
}

/// A registry that tells manifests to Wharfinger, and 3 MB of nonsense to the engine.
async fn what_a_registry_says_is_cleaned(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let said = format!("\u{1b}[31mno\0\u{202e} way {}", "€\u{7}".repeat(1_000_000));
    let refusal = json!({"errors": [{"code": "UNKNOWN", "message": said}]}).to_string();
    let (registry, _serving) = talker(move |engine, path| {
        if path == "/v2/" {
            StatusCode::OK.into_response()
        } else if engine {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::BAD_REQUEST, headers, refusal.clone()).into_response()
        } else {
            manifest(&["a layer".to_owned()])
        }
    })
    .await;
    let user = fleet.user("100").await;
    let reference = Repository::at(&registry).tag("1");
    let job = fleet.ended(fleet.pull(user, &reference).await.id).await;
    let attempts = fleet.attempts(job.id).await;
    assert!(!attempts.is_empty() && attempts.len() <= 3, "{attempts:?}");
    let messages = attempts.into_iter().map(|attempt| attempt.error_message);
    for message in messages.chain([job.error_message]) {
        let message = message.unwrap();
        assert!(message.contains("no way €€"), "{message}");
        assert!(message.chars().count() <= MESSAGE_LENGTH, "{message}");
        assert!(!message.chars().any(is_hidden), "{message}");
    }
    assert_ne!(job.error_code, Some(JobErrorCode::WorkerLost));
    fleet.finish().await;
}

/// A trigger stands for whatever a database will never store.
async fn what_the_database_refuses_ends_the_job(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let rule = match shape {
        Shape::Embedded => {
            "CREATE TRIGGER never BEFORE INSERT ON images BEGIN SELECT RAISE(ABORT, 'never'); END"
        }
        Shape::Postgres => "ALTER TABLE images ADD CONSTRAINT never CHECK (charge < 0) NOT VALID",
        Shape::MariaDb => "ALTER TABLE images ADD CONSTRAINT never CHECK (charge < 0)",
    };
    let db = fleet.services.db.write();
    db.execute_unprepared(rule).await.unwrap();
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &repository.tag("1")).await.id;
    eventually("the second attempt", || async {
        (fleet.job(job).await.attempt >= 2).then_some(())
    })
    .await;
    // The count is no worker's memory.
    fleet.kill_worker().await;
    fleet.start_worker().await;
    let job = fleet.ended(job).await;
    assert_eq!(
        (job.state, job.error_code, job.error_retryable),
        (JobState::Failed, Some(JobErrorCode::Internal), Some(false)),
        "{job:?}"
    );
    let message = job.error_message.unwrap();
    assert!(
        message.starts_with("the database refuses what came"),
        "{message}"
    );
    let attempts = fleet.attempts(job.id).await;
    let messages = attempts
        .iter()
        .map(|attempt| attempt.error_message.as_ref());
    let refused = messages.filter(|said| *said == Some(&message));
    assert_eq!(refused.count(), 5, "{attempts:?}");
    assert_eq!(fleet.account(user).await.held, Credits::ZERO);
    fleet.engine.loses(&id).await;
    fleet.finish().await;
}

/// 33,000 layers fit into a manifest of 4 MB. None of them is asked for, and the worker goes on to other jobs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_too_many_layers_is_refused_at_once() {
    let fleet = Fleet::start(Shape::Embedded).await;
    let user = fleet.user("100").await;
    for count in [126, 501, 25_000] {
        let layers: Vec<String> = (0..count).map(|layer: u32| layer.to_string()).collect();
        let (registry, _serving) = talker(move |_, path| {
            assert!(!path.contains("/blobs/"), "{path}");
            manifest(&layers)
        })
        .await;
        let began = Instant::now();
        let reference = Repository::at(&registry).tag("1");
        let job = fleet.ended(fleet.pull(user, &reference).await.id).await;
        assert_eq!(
            (job.state, job.error_code, job.attempt),
            (JobState::Failed, Some(JobErrorCode::ImageUnsupported), 1),
            "{job:?}"
        );
        let message = job.error_message.unwrap();
        let words = format!("has {count} layers");
        assert!(message.contains(&words), "{message}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    fleet.finish().await;
}

/// What no engine can make an image of ends the job, with words that say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_config_fails() {
    let fleet = Fleet::start(Shape::Embedded).await;
    let repository = fleet.repository();
    let user = fleet.user("100").await;
    let good: Value = serde_json::from_slice(&random_image(10).config()).unwrap();
    // The good one with another value at this place.
    let with = |place: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(place).unwrap() = value;
        config.to_string()
    };
    let (x, y) = (digest_of(b"x"), digest_of(b"y"));
    let diff_ids = "/rootfs/diff_ids";
    let broken = [
        ("nonsense", "nonsense".to_owned()),
        ("empty", String::new()),
        ("cut", good.to_string()[..40].to_owned()),
        ("list", "[]".to_owned()),
        ("nothing", "{}".to_owned()),
        ("null", "null".to_owned()),
        ("types", with("/architecture", json!(7))),
        ("ports", with("/config/ExposedPorts", json!(["80/tcp"]))),
        ("date", with("/created", json!("yesterday"))),
        ("no-rootfs", with("/rootfs", Value::Null)),
        ("other-rootfs", with(diff_ids, json!([x]))),
        ("more-rootfs", with(diff_ids, json!([x, y]))),
        ("diff-id", with(diff_ids, json!(["x"]))),
    ];
    let mut others = Vec::new();
    for (tag, config) in broken {
        let mut image = random_image(1000);
        image.odd_config = Some(config.into_bytes());
        repository.push(&fleet.registry, tag, &image).await;
        let job = fleet.pull(user, &repository.tag(tag)).await;
        let job = fleet.ended(job.id).await;
        let end = (job.state, job.error_code, job.error_retryable);
        let unsupported = Some(JobErrorCode::ImageUnsupported);
        if end != (JobState::Failed, unsupported, Some(false)) {
            others.push(format!("{tag}: {end:?} {:?}", job.error_message));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    fleet.finish().await;
}

/// A registry that answers as a closure says, which is told whether an engine asks, and for which path. Returns its address.
async fn talker(
    answer: impl Fn(bool, &str) -> Response + Clone + Send + Sync + 'static,
) -> (String, AbortOnDropHandle<()>) {
    let answer = move |uri: Uri, headers: HeaderMap| {
        let agent = headers.get(header::USER_AGENT);
        let ours = agent.is_some_and(|agent| agent.as_bytes().starts_with(b"wharfinger/"));
        std::future::ready(answer(!ours, uri.path()))
    };
    http::serve(http::all(answer, ())).await
}

/// A manifest of layers that nobody has.
fn manifest(layers: &[String]) -> Response {
    let part = |kind: &str, name: &str| json!({"mediaType": kind, "size": 10, "digest": digest_of(name.as_bytes())});
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": part("application/vnd.oci.image.config.v1+json", "the config"),
        "layers": layers.iter().map(|name| part(layer, name)).collect::<Vec<_>>(),
    });
    ([(header::CONTENT_TYPE, media_type)], manifest.to_string()).into_response()
}
