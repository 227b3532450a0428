//! The whole story, as its users live it: over the public API, on two real engines, with Redis and PostgreSQL, a gateway
//! and two workers of the real program. What is refused to whom is not told here: that is in `api/tests/graphql`.

mod wharf;

use serde_json::{Value, json};

use crate::support::graphql::{Client, done, id};
use crate::support::images::downloads;
use crate::support::process::Process;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::until;
use crate::support::world::World;
use wharf::{Wharf, use_of};

/// A subscription to one's credits.
const BALANCE: &str = "subscription { balanceChanged { available held total } }";

/// A new user with 1000 credits, who signs in.
async fn takes_on(root: &Client, name: &str, password: &str) -> Client {
    let input = json!({"name": name, "password": password, "credits": "1000"});
    done(root, "createUser", input, "user { id }").await;
    root.sign_in(name, password).await
}

/// Pulls an image onto a host, and returns what is held of it then.
async fn pulled(client: &Client, host: &str, reference: &str) -> Value {
    let job = client.pull_onto(host, reference).await;
    client.succeeded(&job).await;
    image_of(client, &job).await
}

async fn image_of(client: &Client, job: &str) -> Value {
    let query = "query($id: ID!) { job(id: $id) { image { id charge } } }";
    client.ask(query, json!({"id": job})).await["job"]["image"].take()
}

/// Lets go of an image. Returns the job.
async fn lets_go(client: &Client, image: &Value) -> String {
    let payload = client.remove(&id(image)).await;
    assert_eq!(payload["userErrors"], json!([]));
    id(&payload["job"])
}

async fn total(client: &Client) -> Value {
    client.balance().await["total"].take()
}

/// Waits until no job of any user is live.
async fn when_nothing_is_under_way(root: &Client) {
    let query = "{ jobs(filter: {states: [QUEUED, RUNNING, RETRYING]}) { nodes { id } } }";
    until("every job has ended", async || {
        let answer = root.ask(query, json!({})).await;
        (answer["jobs"]["nodes"] == json!([])).then_some(())
    })
    .await;
}

/// Kills the gateway and the worker of host two, and starts both again.
async fn killed(world: &World, processes: [&mut Process; 2], people: [&mut Client; 2]) {
    let [gateway, worker] = processes;
    gateway.crash();
    worker.crash();
    *gateway = world.gateway().await;
    *worker = world.worker_at("two", &engine(2)).await;
    turn_to(gateway, people);
}

/// Has them speak to this gateway from now on.
fn turn_to(gateway: &Process, people: [&mut Client; 2]) {
    for client in people {
        gateway.address.clone_into(&mut client.address);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn the_whole_mission() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    world.set("WHARFINGER_SWEEP__SCHEDULE", &wharf::daily_an_hour_ago());

    // An administrator is made on the command line, a gateway and the workers of two hosts start; she takes on two users.
    let root = world.user("root", &["--admin"]);
    let mut gateway = world.gateway().await;
    let one_worker = world.worker_at("one", &engine(1)).await;
    let mut two_worker = world.worker_at("two", &engine(2)).await;
    let mut root = gateway.client(&root);
    let one = root.online_host("one").await;
    let two = root.online_host("two").await;
    let wharf = Wharf::open();
    let mut ada = takes_on(&root, "ada", "kelp-and-anchor-41").await;
    let bob = takes_on(&root, "bob", "seven-grey-gulls-9").await;

    // Ada pulls a private image onto host one and watches it arrive; her balance follows.
    let registry = RegistryProxy::start(&world.registry.address, 400_000).await;
    let private = wharf::push(&world, 2_000_000).await;
    let watched = format!("{}/{}", registry.address, private.name);
    let mut balances = Subscription::start(&ada, BALANCE, json!({})).await;
    assert_eq!(balances.next().await.unwrap()["available"], "1000");
    let job = ada.pull_onto(&one, &watched).await;
    let mut progress = Subscription::progress(&ada, &job).await;
    progress.next_where("bytes arrive", downloads).await;
    registry.open();
    let last = progress.rest().await.pop().unwrap();
    assert_eq!(last["state"], "SUCCEEDED", "{last}");
    let adas = image_of(&ada, &job).await;
    assert_eq!(adas["charge"], private.credits);
    let charged = |balance: &Value| balance["total"] == private.left_of(1000);
    balances.next_where("the charge", charged).await;
    assert!(wharf.has(1, &private).await && !wharf.has(2, &private).await);

    // Bob wants the same: he pays too, and the engine fetches nothing twice.
    let job = bob.pull_onto(&one, &watched).await;
    bob.succeeded(&job).await;
    let fetched = "query($id: ID!) { job(id: $id) { progress { downloaded } } }";
    let fetched = bob.ask(fetched, json!({"id": job})).await;
    assert_eq!(fetched["job"]["progress"]["downloaded"], 0, "{fetched}");
    assert_ne!(adas["id"], image_of(&bob, &job).await["id"]);
    assert_eq!(total(&bob).await, private.left_of(1000));

    // Ada lets go of hers. It stays for Bob, and her credits come back exactly.
    let removal = lets_go(&ada, &adas).await;
    ada.succeeded(&removal).await;
    assert_eq!(total(&ada).await, "1000");
    assert!(wharf.has(1, &private).await);

    // An image on host two. With no host named, the gateway goes where it is already.
    let elsewhere = wharf::push(&world, 700_000).await;
    let reference = elsewhere.at(&world);
    pulled(&ada, &two, &reference).await;
    let again = ada.pull(&reference).await;
    let again = ada.succeeded(&again).await;
    assert_eq!(again["host"]["name"], "two", "{again}");
    assert_eq!(total(&ada).await, elsewhere.left_of(1000));
    assert!(wharf.has(2, &elsewhere).await && !wharf.has(1, &elsewhere).await);

    // Bob and the administrator hold the same image when she publishes it: he gets his credits back, and from now on
    // everyone has it for nothing, at once.
    let public = wharf::push(&world, 500_000).await;
    let reference = public.at(&world);
    pulled(&bob, &one, &reference).await;
    let shared = pulled(&root, &one, &reference).await;
    let publish = json!({"imageId": shared["id"], "visibility": "PUBLIC"});
    done(&root, "setImageVisibility", publish, "image { id }").await;
    assert_eq!(total(&bob).await, private.left_of(1000));
    let free = ada.pull_onto(&one, &reference).await;
    assert_eq!(ada.job(&free).await["state"], "SUCCEEDED");
    assert_eq!(total(&ada).await, elsewhere.left_of(1000));

    // A registry is out of order until Bob's pull is a dead letter; then it is in order again, and the administrator
    // sends the pull once more on its way.
    let late = wharf::push(&world, 300_000).await;
    registry.break_off(true);
    let reference = format!("{}/{}", registry.address, late.name);
    let job = bob.pull_onto(&one, &reference).await;
    let dead = bob.ended(&job).await;
    assert_eq!(dead["state"], "DEAD", "{dead}");
    registry.break_off(false);
    let queue = json!({"queue": "one"});
    let redriven = done(&root, "retryDeadJobs", queue, "jobs { id }").await;
    assert_eq!(redriven["jobs"], json!([{"id": job}]));
    assert_eq!(bob.succeeded(&job).await["attempt"], 3);

    // Whatever is killed the moment after an answer, what was answered lasts: a pull and a removal.
    let used = wharf::push(&world, 200_000).await;
    let job = ada.pull_onto(&two, &used.at(&world)).await;
    killed(
        &world,
        [&mut gateway, &mut two_worker],
        [&mut root, &mut ada],
    )
    .await;
    ada.succeeded(&job).await;
    let brief = wharf::push(&world, 100_000).await;
    let held = pulled(&ada, &two, &brief.at(&world)).await;
    let removal = lets_go(&ada, &held).await;
    killed(
        &world,
        [&mut gateway, &mut two_worker],
        [&mut root, &mut ada],
    )
    .await;
    ada.succeeded(&removal).await;
    wharf.loses(2, &brief).await;

    // Night comes, and goes, while there is no gateway. The one that starts makes up for the clean-up: it takes every
    // private image that no container uses, and everyone is refunded, Bob too. What is public stays.
    gateway.crash();
    let container = use_of(2, &used);
    wharf::a_night_passes(&world).await;
    gateway = world.gateway().await;
    turn_to(&gateway, [&mut root, &mut ada]);
    gateway.logged("the scheduled clean-up is done").await;
    wharf.loses(1, &private).await;
    wharf.loses(1, &late).await;
    wharf.loses(2, &elsewhere).await;
    when_nothing_is_under_way(&root).await;
    assert!(wharf.has(1, &public).await && wharf.has(2, &used).await);
    assert_eq!(total(&ada).await, used.left_of(1000));
    let bob = gateway.client(bob.token.as_deref().unwrap());
    assert_eq!(total(&bob).await, "1000");
    drop(container);

    // Whatever happened, the books and the engines agree.
    let all = [&private, &elsewhere, &public, &late, &used, &brief];
    wharf::in_order(&world, &wharf, &all).await;
    drop((one_worker, two_worker));
}
