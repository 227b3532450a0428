use wharfinger_entity::{Digest, ExposedPorts, host};

use super::*;
use crate::engine::EngineImage;
use crate::services::test_services::on_sqlite;

const WORKER: &str = "one/1";

/// A database of its own with one image, whose lock is taken.
async fn locked(folder: &tempfile::TempDir) -> (Services, ImageLock) {
    let mut services = on_sqlite(folder).await;
    services.worker = Some(WORKER.into());
    let now = services.clock.now();
    let host: host::Model = crate::hosts::join(&services.db, "one", &services.settings.worker, now)
        .await
        .unwrap();
    let image = EngineImage {
        id: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
        size: 1,
        exposed_ports: ExposedPorts::default(),
        platform: "linux/amd64".into(),
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        diff_ids: Vec::new(),
    };
    let tx = services.db.begin().await.unwrap();
    let row = crate::engine_images::lock::locked_or_new(&tx, &services, host.id, &image, 0)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    let image_lock = crate::engine_images::lock::try_lock(&services, row.id)
        .await
        .unwrap()
        .unwrap();
    (services, image_lock)
}

#[tokio::test]
async fn work_ends_when_the_database_is_away_until_the_lock_ran_out() {
    let folder = tempfile::tempdir().unwrap();
    let (services, image_lock) = locked(&folder).await;
    // The only connection that writes.
    let busy = services.db.begin().await.unwrap();
    // As long as the lock may last, and no longer.
    let kept = while_renewing(&services, &image_lock, std::future::pending::<()>());
    let kept = tokio::time::timeout(2 * LOCK_TIME, kept).await;
    assert_eq!(kept.unwrap(), Err(LockLost));
    drop(busy);
}

#[tokio::test]
async fn work_ends_at_the_first_renewal_after_the_lock_was_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let (services, image_lock) = locked(&folder).await;
    unlock(&services, &image_lock).await;
    let another = crate::engine_images::lock::try_lock(&services, image_lock.engine_image_id)
        .await
        .unwrap();
    assert!(another.is_some());
    let kept = while_renewing(&services, &image_lock, std::future::pending::<()>()).await;
    assert_eq!(kept, Err(LockLost));
}

#[tokio::test]
async fn a_renewal_that_waits_for_a_proof_has_as_long_as_the_proof_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (services, image_lock) = locked(&folder).await;
    image_lock.term().until = Instant::now() + Duration::from_millis(50);
    let proof = async {
        let _alone = image_lock.extending.lock().await;
        // The proof is stored a moment before the lock would have run out, and its caller goes on later.
        image_lock.term().until = Instant::now() + LOCK_TIME;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let renewal = async {
        tokio::task::yield_now().await;
        in_term(&image_lock, image_lock.renew(&services)).await
    };
    let ((), renewed) = tokio::join!(proof, renewal);
    assert!(matches!(renewed, Ok(Ok(true))), "{renewed:?}");
}

#[tokio::test]
async fn a_change_that_was_not_heard_of_leaves_the_lock_to_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let (services, image_lock) = locked(&folder).await;
    let minute = Duration::from_mins(1);
    let lasts = image_lock.prove(&services, minute).await.unwrap().unwrap();
    assert!(lasts > Instant::now() + minute);
    assert!(image_lock.renew(&services).await.unwrap());
    unlock(&services, &image_lock).await;
    let another = async || {
        crate::engine_images::lock::try_lock(&services, image_lock.engine_image_id)
            .await
            .unwrap()
    };
    assert!(another().await.is_none(), "the engine may go on");
    image_lock.heard();
    unlock(&services, &image_lock).await;
    assert!(another().await.is_some());
    let proof = image_lock.prove(&services, minute).await.unwrap();
    assert_eq!(proof, Err(LockLost));
}

#[tokio::test]
async fn the_lock_of_a_worker_that_is_gone_is_freed_unless_the_engine_may_be_changing() {
    let folder = tempfile::tempdir().unwrap();
    let (services, image_lock) = locked(&folder).await;
    let free = async |worker| free_locks_of(&services, worker).await.unwrap();
    assert_eq!(free("another").await, 0);
    let minute = Duration::from_mins(1);
    image_lock.prove(&services, minute).await.unwrap().unwrap();
    assert!(image_lock.renew(&services).await.unwrap());
    assert_eq!(free(WORKER).await, 0);
    image_lock.heard();
    assert!(image_lock.renew(&services).await.unwrap());
    assert_eq!(free(WORKER).await, 1);
    let another = crate::engine_images::lock::try_lock(&services, image_lock.engine_image_id).await;
    assert!(another.unwrap().is_some());
}
