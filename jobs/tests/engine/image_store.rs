//! What is pulled, and what becomes of it.

use std::time::Instant;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use wharfinger_jobs::engine::{EngineError, LayerStep, PullEvent, PullName, same_reference};
use wharfinger_jobs::progress::{LayerState, ProgressTracker, PullPhase, PullSnapshot};
use wharfinger_jobs::testing::image::TestImage;

use super::{
    Place, docker_host, engine, id, image, manifest_digest, manifest_layers, pull, unique_layer,
};

fn track(image: &TestImage, events: &[PullEvent]) -> PullSnapshot {
    let now = Instant::now();
    let mut tracker = ProgressTracker::new(manifest_layers(image));
    for event in events {
        tracker.apply(event, now);
    }
    tracker.snapshot(now)
}

#[tokio::test]
async fn an_image_is_pulled_described_and_pulled_again() {
    let (engine, place) = (engine(), Place::new());
    let image = image(&[3_000_000, 20_000, 100]);
    place.push("v1", &image).await;

    let events = pull(&engine, &place.pull_name("v1")).await;
    assert_eq!(events[0], PullEvent::Resolved);
    assert!(events.contains(&PullEvent::Digest(manifest_digest(&image).into())));
    let step = |wanted: LayerStep| {
        events
            .iter()
            .filter(|event| matches!(event, PullEvent::Layer { step, .. } if *step == wanted))
            .count()
    };
    assert_eq!((step(LayerStep::Announced), step(LayerStep::Done)), (3, 3));
    let snapshot = track(&image, &events);
    assert_eq!(snapshot.phase, PullPhase::Settling);
    let (downloaded, reused) = (snapshot.downloaded, snapshot.reused);
    assert_eq!((Some(downloaded), reused), (snapshot.total, 0));
    let states: Vec<_> = snapshot.layers.iter().map(|layer| layer.state).collect();
    assert_eq!(states, [LayerState::Done; 3]);

    let found = engine.inspect(&place.name("v1")).await.unwrap().unwrap();
    assert_eq!(found.id, id(&image));
    assert_eq!(found.size, 3_020_100);
    let ports = found.exposed_ports.to_strings();
    assert_eq!(ports, ["53/tcp", "53/udp", "9000/tcp"]);
    assert_eq!(found.platform, "linux/amd64");
    assert!(same_reference(&found.repo_tags[0], &place.name("v1")));
    let by_digest = format!("{}@{}", place.repository(), manifest_digest(&image));
    assert_eq!(found.repo_digests, [by_digest.as_str()]);
    let by_id = engine.inspect(&found.id).await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&found));
    assert_eq!(engine.inspect(&by_digest).await.unwrap(), Some(found));
    let listed = engine.list().await.unwrap();
    let listed = listed.iter().find(|listed| listed.id == id(&image));
    let listed = listed.unwrap();
    assert_eq!(listed.repo_tags, [place.name("v1")]);
    assert_eq!(listed.repo_digests, [by_digest]);

    let by_digest = PullName::new(&place.repository(), None, Some(&manifest_digest(&image)));
    let snapshot = track(&image, &pull(&engine, &by_digest).await);
    assert_eq!(snapshot.downloaded, 0);
    assert_eq!(Some(snapshot.reused), snapshot.total);
}

#[tokio::test]
async fn layers_that_the_engine_has_are_reused() {
    let (engine, place) = (engine(), Place::new());
    let base = unique_layer(200_000);
    let first = TestImage::new(vec![base.clone(), unique_layer(1000)]);
    let second = TestImage::new(vec![base.clone(), unique_layer(2000)]);
    place.push("1", &first).await;
    place.push("2", &second).await;
    pull(&engine, &place.pull_name("1")).await;
    let snapshot = track(&second, &pull(&engine, &place.pull_name("2")).await);
    assert_eq!(snapshot.reused, base.len() as u64);
    assert_eq!(snapshot.layers[0].state, LayerState::Reused);
    assert_eq!(snapshot.layers[1].state, LayerState::Done);
    assert_eq!(snapshot.total, Some(snapshot.downloaded + snapshot.reused));
}

#[tokio::test]
async fn names_come_and_go_and_the_image_goes_with_the_last() {
    let (engine, place) = (engine(), Place::new());
    let image = image(&[100]);
    let id = id(&image);
    place.push("1", &image).await;
    pull(&engine, &place.pull_name("1")).await;
    let tagged = engine.tag(&id, &place.repository(), "2").await;
    tagged.unwrap();
    let other = format!("docker.io/library/{}", place.path.replace('/', "-"));
    engine.tag(&id, &other, "3").await.unwrap();
    let other = format!("{other}:3");
    let tags = engine.inspect(&id).await.unwrap().unwrap().repo_tags;
    assert_eq!(tags.len(), 3);
    let named = tags.iter().any(|tag| same_reference(tag, &other));
    assert!(named, "{tags:?}");

    let conflict = engine.remove_by_id(&id).await.unwrap_err();
    assert!(matches!(conflict, EngineError::Conflict(_)), "{conflict:?}");
    for name in [&place.name("2"), &place.name("2"), &other] {
        engine.untag(name).await.unwrap();
        assert_eq!(engine.inspect(name).await.unwrap(), None, "{name}");
        assert!(engine.inspect(&id).await.unwrap().is_some(), "{name}");
    }
    for _ in 0..2 {
        engine.remove_by_id(&id).await.unwrap();
        assert_eq!(engine.inspect(&id).await.unwrap(), None);
    }
    for name in [&id, &place.name("1")] {
        assert_eq!(engine.inspect(name).await.unwrap(), None);
    }
    let missing = engine.tag(&id, &place.repository(), "4").await.unwrap_err();
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn an_image_that_lost_its_tag_to_another_stays_listed_by_id() {
    let (engine, place) = (engine(), Place::new());
    let (old, new) = (image(&[100]), image(&[200]));
    place.push("1", &old).await;
    pull(&engine, &place.pull_name("1")).await;
    place.push("1", &new).await;
    pull(&engine, &place.pull_name("1")).await;
    let found = engine.inspect(&place.name("1")).await.unwrap().unwrap();
    assert_eq!(found.id, id(&new));
    let listed = engine.list().await.unwrap();
    let listed = listed.iter().find(|listed| listed.id == id(&old)).unwrap();
    assert!(listed.repo_tags.is_empty(), "{listed:?}");
    engine.remove_by_id(&id(&old)).await.unwrap();
    assert_eq!(engine.inspect(&id(&old)).await.unwrap(), None);
}

#[tokio::test]
async fn an_image_that_a_container_uses_stays() {
    let (engine, place) = (engine(), Place::new());
    let image = image(&[100]);
    let id = id(&image);
    place.push("1", &image).await;
    pull(&engine, &place.pull_name("1")).await;
    let users = engine.containers_using(&id).await.unwrap();
    assert!(users.is_empty(), "{users:?}");

    let docker = Docker::connect_with_host(&docker_host()).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let body = ContainerCreateBody {
        image: Some(place.name("1")),
        cmd: Some(vec!["/never-run".to_owned()]),
        ..Default::default()
    };
    let container = docker.create_container(None::<CreateContainerOptions>, body);
    let container = container.await.unwrap().id;
    let users = engine.containers_using(&id).await.unwrap();
    assert_eq!(users.len(), 1);
    let is_name = !users[0].is_empty() && !users[0].starts_with('/');
    assert!(is_name, "{users:?}");
    for refused in [
        engine.remove_by_id(&id).await,
        engine.untag(&place.name("1")).await,
    ] {
        assert!(matches!(refused, Err(EngineError::InUse(_))), "{refused:?}");
    }
    assert!(engine.inspect(&place.name("1")).await.unwrap().is_some());

    let removed = docker.remove_container(&container, None::<RemoveContainerOptions>);
    removed.await.unwrap();
    engine.remove_by_id(&id).await.unwrap();
    assert_eq!(engine.inspect(&id).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_image_is_never_sent() {
    let engine = engine();
    let refused = engine.inspect("../info").await.unwrap_err();
    assert!(matches!(refused, EngineError::Other { .. }), "{refused:?}");
    assert!(engine.remove_by_id("redis").await.is_err());
    assert!(engine.untag("0123456789ab").await.is_err());
    let none = engine.inspect("localhost/there/is/none:1").await;
    assert_eq!(none.unwrap(), None);
}
