//! Everything at once: users who pull, remove and cancel, and workers that are killed meanwhile.

use futures::future::join_all;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;
use wharfinger_entity::job;
use wharfinger_jobs::commands::cancel_job::cancel_job;

use crate::support::{Fleet, Shape, credits, eventually, on_every_database};

on_every_database!(nothing_is_lost_when_workers_are_killed);

const USERS: usize = 4;
const TAGS: [&str; 5] = ["1", "2", "3", "4", "5"];
const REQUESTS: usize = 12;
const KILLS: usize = 3;

async fn nothing_is_lost_when_workers_are_killed(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let name = repository.full_name();
    let mut ids = Vec::new();
    for tag in TAGS {
        ids.push(fleet.push(&repository, tag, 60_000).await);
    }
    let users = join_all((0..USERS).map(|_| fleet.user("100"))).await;
    for _ in 0..KILLS {
        let (id, _) = tokio::join!(
            // A tag moves under everybody's feet.
            fleet.push(&repository, "1", 50_000),
            join_all(users.iter().map(|user| requests(&fleet, *user, &name)))
        );
        ids.push(id);
        fleet.kill_worker().await;
        fleet.start_worker().await;
    }
    all_ended(&fleet).await;

    // They let go of everything: every credit comes back, and the engine has nothing left of it.
    for user in &users {
        for image in fleet.holdings(*user).await {
            fleet.removed(*user, image.id).await;
        }
        let account = fleet.account(*user).await;
        assert_eq!(account.total, credits("100"), "{account:?}");
    }
    for id in ids {
        fleet.engine.loses(&id).await;
    }
    fleet.finish().await;
}

async fn requests(fleet: &Fleet, user: Uuid, repository: &str) {
    for _ in 0..REQUESTS {
        let tag = TAGS.choose(&mut rand::rng()).unwrap();
        let job = match rand::rng().random_range(0..10) {
            0..6 => Some(fleet.pull(user, &format!("{repository}:{tag}")).await),
            _ => match fleet.holdings(user).await.choose(&mut rand::rng()) {
                // It may have been let go of since it was listed.
                Some(image) => fleet.try_remove(user, image.id).await.ok(),
                None => None,
            },
        };
        if let Some(job) = job.filter(|_| rand::rng().random_bool(0.2)) {
            // It may have ended or begun already.
            let _ = cancel_job(&fleet.services, Some(user), Some(job.id)).await;
        }
    }
}

async fn all_ended(fleet: &Fleet) {
    eventually("all jobs ended", || async {
        let live = job::Entity::find()
            .filter(job::Column::Live.eq(1))
            .one(fleet.services.db.read());
        live.await.unwrap().is_none().then_some(())
    })
    .await;
}
