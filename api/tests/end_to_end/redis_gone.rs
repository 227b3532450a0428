//! Without Redis the gateway still accepts; what it accepted runs once Redis is back.

use crate::support::books;
use crate::support::images::pushed;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

#[tokio::test]
async fn what_is_accepted_without_redis_runs_once_it_is_back() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let references = [pushed(&world, 1000).await, pushed(&world, 1000).await];

    world.redis.as_mut().unwrap().kill();
    let mut jobs = Vec::new();
    for reference in &references {
        jobs.push(client.pull(reference).await);
    }
    assert_eq!(client.balance().await["held"], "600");
    // Watching begins while the events are away, too.
    let mut progress = Subscription::progress(&client, &jobs[0]).await;
    assert_eq!(progress.next().await.unwrap()["phase"], "WAITING");
    assert_eq!(client.get("/readyz").await.status(), 200);

    world.redis.as_mut().unwrap().up().await;
    for job in &jobs {
        client.succeeded(job).await;
    }
    let events = progress.rest().await;
    assert_eq!(events.last().unwrap()["state"], "SUCCEEDED");
    books::in_order(&world, &client, 2, 0).await;
    drop(worker);
}
