//! What is pulled, and what becomes of it.

use std::time::Instant;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use wharfinger_jobs::engine::{
    EngineError, LayerStep, PullEvent, PullName, Removed, same_reference,
};
use wharfinger_jobs::progress::{LayerState, ProgressTracker, PullPhase, PullSnapshot};

use super::image::{TestImage, digest, layer};
use super::{Place, docker_host, engine, pull};

fn track(image: &TestImage, events: &[PullEvent]) -> PullSnapshot {
    let now = Instant::now();
    let mut tracker = ProgressTracker::new(image.manifest_layers());
    for event in events {
        tracker.apply(event, now);
    }
    tracker.snapshot(now)
}

#[tokio::test]
async fn an_image_is_pulled_described_and_pulled_again() {
    let (engine, place) = (engine(), Place::new());
    let image = TestImage::new(&[3_000_000, 20_000, 100]);
    place.push("v1", &image).await;

    let events = pull(&engine, &place.pull_name("v1")).await;
    assert_eq!(events[0], PullEvent::Resolved);
    assert!(events.contains(&PullEvent::Digest(digest(&image.manifest).into())));
    let step = |wanted: LayerStep| {
        events
            .iter()
            .filter(|event| matches!(event, PullEvent::Layer { step, .. } if *step == wanted))
            .count()
    };
    assert_eq!((step(LayerStep::Announced), step(LayerStep::Done)), (3, 3));
    let snapshot = track(&image, &events);
    assert_eq!(snapshot.phase, PullPhase::Settling);
    assert_eq!(
        (Some(snapshot.downloaded), snapshot.reused),
        (snapshot.total, 0)
    );
    assert!(
        snapshot
            .layers
            .iter()
            .all(|layer| layer.state == LayerState::Done)
    );
    assert_eq!(snapshot.layers.len(), 3);

    let found = engine.inspect(&place.name("v1")).await.unwrap().unwrap();
    assert_eq!(found.id, image.id());
    assert_eq!(found.size, 3_020_100);
    assert_eq!(
        found.exposed_ports.to_strings(),
        ["53/tcp", "53/udp", "9000/tcp"]
    );
    assert_eq!(found.platform, "linux/amd64");
    assert!(same_reference(&found.repo_tags[0], &place.name("v1")));
    let by_digest = format!("{}@{}", place.repository(), digest(&image.manifest));
    assert_eq!(found.repo_digests, [by_digest.as_str()]);
    assert_eq!(
        engine.inspect(&found.id).await.unwrap().as_ref(),
        Some(&found)
    );
    assert_eq!(engine.inspect(&by_digest).await.unwrap(), Some(found));
    let listed = engine.list().await.unwrap();
    let listed = listed
        .iter()
        .find(|listed| listed.id == image.id())
        .unwrap();
    assert_eq!(listed.repo_tags, [place.name("v1")]);
    assert_eq!(listed.repo_digests, [by_digest]);

    let by_digest = PullName::new(&place.repository(), None, Some(&digest(&image.manifest)));
    let snapshot = track(&image, &pull(&engine, &by_digest).await);
    assert_eq!(
        (snapshot.downloaded, Some(snapshot.reused)),
        (0, snapshot.total)
    );
}

#[tokio::test]
async fn layers_that_the_engine_has_are_reused() {
    let (engine, place) = (engine(), Place::new());
    let base = layer(200_000);
    let first = TestImage::of(vec![base.clone(), layer(1000)]);
    let second = TestImage::of(vec![base.clone(), layer(2000)]);
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
    let image = TestImage::new(&[100]);
    place.push("1", &image).await;
    pull(&engine, &place.pull_name("1")).await;
    engine
        .tag(&image.id(), &place.repository(), "2")
        .await
        .unwrap();
    let other = format!("docker.io/library/{}", place.path.replace('/', "-"));
    engine.tag(&image.id(), &other, "3").await.unwrap();
    let tags = engine
        .inspect(&image.id())
        .await
        .unwrap()
        .unwrap()
        .repo_tags;
    assert_eq!(tags.len(), 3);
    assert!(
        tags.iter()
            .any(|tag| same_reference(tag, &format!("{other}:3"))),
        "{tags:?}"
    );

    let conflict = engine.remove_by_id(&image.id()).await.unwrap_err();
    assert!(matches!(conflict, EngineError::Conflict(_)), "{conflict:?}");
    assert_eq!(
        engine.untag(&place.name("2")).await.unwrap(),
        Removed::Untagged
    );
    assert_eq!(
        engine.untag(&place.name("2")).await.unwrap(),
        Removed::AlreadyGone
    );
    assert_eq!(
        engine.untag(&format!("{other}:3")).await.unwrap(),
        Removed::Untagged
    );
    assert_eq!(
        engine.remove_by_id(&image.id()).await.unwrap(),
        Removed::Deleted
    );
    assert_eq!(
        engine.remove_by_id(&image.id()).await.unwrap(),
        Removed::AlreadyGone
    );
    assert_eq!(engine.inspect(&image.id()).await.unwrap(), None);
    assert_eq!(engine.inspect(&place.name("1")).await.unwrap(), None);
    let missing = engine
        .tag(&image.id(), &place.repository(), "4")
        .await
        .unwrap_err();
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn an_image_that_lost_its_tag_to_another_stays_listed_by_id() {
    let (engine, place) = (engine(), Place::new());
    let (old, new) = (TestImage::new(&[100]), TestImage::new(&[200]));
    place.push("1", &old).await;
    pull(&engine, &place.pull_name("1")).await;
    place.push("1", &new).await;
    pull(&engine, &place.pull_name("1")).await;
    assert_eq!(
        engine.inspect(&place.name("1")).await.unwrap().unwrap().id,
        new.id()
    );
    let listed = engine.list().await.unwrap();
    let listed = listed.iter().find(|listed| listed.id == old.id()).unwrap();
    assert!(listed.repo_tags.is_empty(), "{listed:?}");
    assert_eq!(
        engine.remove_by_id(&old.id()).await.unwrap(),
        Removed::Deleted
    );
}

#[tokio::test]
async fn an_image_that_a_container_uses_stays() {
    let (engine, place) = (engine(), Place::new());
    let image = TestImage::new(&[100]);
    place.push("1", &image).await;
    pull(&engine, &place.pull_name("1")).await;
    assert!(
        engine
            .containers_using(&image.id())
            .await
            .unwrap()
            .is_empty()
    );

    let docker = Docker::connect_with_host(&docker_host())
        .unwrap()
        .negotiate_version()
        .await
        .unwrap();
    let body = ContainerCreateBody {
        image: Some(place.name("1")),
        cmd: Some(vec!["/never-run".to_owned()]),
        ..Default::default()
    };
    let container = docker
        .create_container(
            None::<bollard::query_parameters::CreateContainerOptions>,
            body,
        )
        .await
        .unwrap();
    let users = engine.containers_using(&image.id()).await.unwrap();
    assert_eq!(users.len(), 1);
    assert!(
        !users[0].is_empty() && !users[0].starts_with('/'),
        "{users:?}"
    );
    for refused in [
        engine.remove_by_id(&image.id()).await,
        engine.untag(&place.name("1")).await,
    ] {
        assert!(matches!(refused, Err(EngineError::InUse(_))), "{refused:?}");
    }
    assert!(engine.inspect(&place.name("1")).await.unwrap().is_some());

    docker
        .remove_container(
            &container.id,
            None::<bollard::query_parameters::RemoveContainerOptions>,
        )
        .await
        .unwrap();
    assert_eq!(
        engine.remove_by_id(&image.id()).await.unwrap(),
        Removed::Deleted
    );
}

#[tokio::test]
async fn what_is_no_image_is_never_sent() {
    let engine = engine();
    assert!(matches!(
        engine.inspect("../info").await,
        Err(EngineError::Other { .. })
    ));
    assert!(engine.remove_by_id("redis").await.is_err());
    assert!(engine.untag("0123456789ab").await.is_err());
    assert_eq!(
        engine.inspect("localhost/there/is/none:1").await.unwrap(),
        None
    );
}
