//! The whole story, as its users live it: over the public API, on two real engines, with Redis and PostgreSQL, a gateway
//! and two workers of the real program.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

#[allow(
    dead_code,
    reason = "shared with the other tests, which use the rest of it"
)]
#[path = "../../jobs/tests/life/support/invariants.rs"]
mod invariants;
#[path = "mission/people.rs"]
mod people;
#[path = "mission/strangers.rs"]
mod strangers;
#[allow(
    dead_code,
    reason = "shared with the other tests, which use the rest of it"
)]
#[path = "end_to_end/support/mod.rs"]
mod support;
#[path = "mission/wharf.rs"]
mod wharf;

use serde_json::json;

use people::Person;
use support::registry_proxy::RegistryProxy;
use support::servers::{Server, engine};
use support::socket::Subscription;
use support::world::World;
use wharf::{Wharf, use_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn the_whole_mission() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "0");
    world.set(
        "WHARFINGER_SECRET_KEY",
        "a key of the whole fleet, and no other one",
    );
    world.set("WHARFINGER_SWEEP__SCHEDULE", &wharf::daily_an_hour_ago());

    // An administrator is made on the command line, a gateway and the workers of two hosts start.
    let root = world.user("root", &["--admin"]);
    let mut gateway = world.gateway().await;
    let mut workers = [
        world.worker_at("one", &engine(1)).await,
        world.worker_at("two", &engine(2)).await,
    ];
    let mut root = Person::with_token(&gateway, &root);
    let one = root.client.online_host("one").await;
    let two = root.client.online_host("two").await;
    let wharf = Wharf::open().await;

    // She takes on two users, who sign in. Nobody gets in with a wrong password or without one.
    let ada_id = root.creates("ada", "kelp-and-anchor-41", "1000").await;
    let bob_id = root.creates("bob", "seven-grey-gulls-9", "1000").await;
    let taken = root.create("Ada", "another-word-entirely").await;
    assert_eq!(taken["userErrors"][0]["code"], "NAME_TAKEN", "{taken}");
    let weak = root.create("eve", "password").await;
    assert_eq!(weak["userErrors"][0]["code"], "WEAK_PASSWORD", "{weak}");
    let mut ada = Person::sign_in(&gateway, "ada", "kelp-and-anchor-41").await;
    let bob = Person::sign_in(&gateway, "bob", "seven-grey-gulls-9").await;
    people::cannot_sign_in(&gateway, "bob", "eight-grey-gulls-9").await;
    assert_eq!(
        people::refused(&Person::nobody(&gateway), "{ viewer { id } }").await,
        "UNAUTHENTICATED"
    );
    assert_eq!(
        people::refused(&ada, "{ users { nodes { id } } }").await,
        "FORBIDDEN"
    );

    // Ada pulls a private image onto host one and watches it arrive; her balance follows.
    let registry = RegistryProxy::start(&world.registry.address, 400_000).await;
    let private = wharf::push(&world, 2_000_000).await;
    let watched = format!("{}/{}", registry.address, private.name);
    let mut balances = Subscription::start(&ada.client, people::BALANCE, json!({})).await;
    assert_eq!(balances.next().await.unwrap()["available"], "1000");
    let job = ada.client.pull_onto(&one, &watched).await;
    let mut progress = Subscription::progress(&ada.client, &job).await;
    progress
        .next_where("bytes arrive", |event| {
            event["downloaded"].as_u64() > Some(0)
        })
        .await;
    registry.open();
    let last = progress.rest().await.pop().unwrap();
    assert_eq!(last["state"], "SUCCEEDED", "{last}");
    let adas = ada.image_of(&job).await;
    assert_eq!(adas["charge"], private.credits);
    balances
        .next_where("the charge", |balance| {
            balance["total"] == private.left_of(1000)
        })
        .await;
    assert!(wharf.has(1, &private).await && !wharf.has(2, &private).await);

    // Bob wants the same: he pays too, and the engine fetches nothing twice. Neither sees anything of the other.
    let job = bob.pulled(&one, &watched).await;
    let progress = &bob.client.ask(people::REUSED, json!({"id": job})).await["job"]["progress"];
    assert_eq!(progress["downloaded"], 0, "{progress}");
    let bobs = bob.image_of(&job).await;
    assert_ne!(adas["id"], bobs["id"]);
    assert_eq!(bob.total().await, private.left_of(1000));
    assert!(!bob.sees("image", &adas["id"]).await && !ada.sees("image", &bobs["id"]).await);
    assert!(!ada.sees("job", &json!(job)).await && root.sees("job", &json!(job)).await);

    // Ada lets go of hers. It stays for Bob, and her credits come back exactly.
    ada.removes(&adas["id"]).await;
    assert_eq!(ada.total().await, "1000");
    assert!(wharf.has(1, &private).await);
    assert_eq!(bob.images().await.len(), 1);
    bob.saves_login("127.0.0.1:1", "bob", "a word for that registry")
        .await;

    // An image on each host. With no host named, the gateway goes where it is already.
    let elsewhere = wharf::push(&world, 700_000).await;
    let reference = elsewhere.at(&world);
    ada.pulled(&two, &reference).await;
    let again = ada.client.pull(&reference).await;
    let again = ada.client.succeeded(&again).await;
    assert_eq!(again["host"]["name"], "two", "{again}");
    assert_eq!(ada.total().await, elsewhere.left_of(1000));
    assert!(wharf.has(2, &elsewhere).await && !wharf.has(1, &elsewhere).await);

    // Bob and the administrator hold the same image when she publishes it: he gets his credits back, and from now on
    // everyone has it for nothing, at once. It cannot be made private again.
    let public = wharf::push(&world, 500_000).await;
    let reference = public.at(&world);
    bob.pulled(&one, &reference).await;
    let job = root.pulled(&one, &reference).await;
    let shared = root.image_of(&job).await;
    let forbidden = people::refused(&ada, &people::publish(&shared["id"], "PUBLIC")).await;
    assert_eq!(forbidden, "FORBIDDEN");
    let published = root.publishes(&shared["id"], "PUBLIC").await;
    assert_eq!(published["userErrors"], json!([]), "{published}");
    assert_eq!(published["image"]["visibility"], "PUBLIC");
    assert_eq!(published["image"]["charge"], "0");
    assert_eq!(bob.total().await, private.left_of(1000));
    let free = ada.client.pull_onto(&one, &reference).await;
    let free = ada.client.job(&free).await;
    assert_eq!(
        (&free["state"], &free["held"]),
        (&json!("SUCCEEDED"), &json!("0"))
    );
    assert_eq!(ada.total().await, elsewhere.left_of(1000));
    let back = root.publishes(&published["image"]["id"], "PRIVATE").await;
    assert_eq!(back["userErrors"][0]["code"], "NOT_REMOVABLE", "{back}");
    let hers = ada
        .client
        .remove(published["image"]["id"].as_str().unwrap());
    assert_eq!(hers.await["userErrors"][0]["code"], "NOT_REMOVABLE");

    // A registry is out of order until Bob's pull is a dead letter; then it is in order again, and the administrator
    // sends the pull once more on its way.
    let late = wharf::push(&world, 300_000).await;
    registry.break_off(true);
    let reference = format!("{}/{}", registry.address, late.name);
    let job = bob.client.pull_onto(&one, &reference).await;
    let dead = bob.client.ended(&job).await;
    assert_eq!(dead["state"], "DEAD", "{dead}");
    assert_eq!(dead["error"]["code"], "REGISTRY_UNAVAILABLE", "{dead}");
    assert_eq!((&dead["attempt"], &dead["held"]), (&json!(2), &json!("0")));
    assert_eq!(root.dead_letters("one").await, 1);
    registry.break_off(false);
    let redriven = root.redrives("one").await;
    assert_eq!(redriven, std::slice::from_ref(&job));
    let done = bob.client.succeeded(&job).await;
    assert_eq!(done["attempt"], 3, "{done}");
    assert_eq!(root.dead_letters("one").await, 0);

    // Credits are granted once however often it is asked for with the same key, and never taken below nothing.
    for _ in 0..2 {
        let granted = root.grants(&ada_id, "250.5", Some("a prize")).await;
        assert_eq!(granted["userErrors"], json!([]), "{granted}");
    }
    assert_eq!(ada.total().await, elsewhere.left_of_micro(1_250_500_000));
    let too_much = root.grants(&ada_id, "-100000", None).await;
    assert_ne!(too_much["userErrors"], json!([]), "{too_much}");

    // Bob is banned: his socket closes and his token is worth nothing, at once. What he holds he keeps.
    let mut watching = Subscription::start(&bob.client, people::BALANCE, json!({})).await;
    watching.next().await.unwrap();
    root.updates(&bob_id, json!({"status": "BANNED"})).await;
    watching.closed().await;
    assert_eq!(
        people::refused(&bob, "{ viewer { id } }").await,
        "UNAUTHENTICATED"
    );
    people::cannot_sign_in(&gateway, "bob", "seven-grey-gulls-9").await;
    assert!(wharf.has(1, &private).await && wharf.has(1, &late).await);
    let root_id = root.own_id().await;
    let last = root.update(&root_id, json!({"status": "BANNED"})).await;
    assert_ne!(
        last["userErrors"],
        json!([]),
        "the last administrator: {last}"
    );

    // Whatever is killed the moment after an answer, what was answered lasts: a pull, a removal, and a grant.
    let used = wharf::push(&world, 200_000).await;
    let job = ada.client.pull_onto(&two, &used.at(&world)).await;
    gateway.crash();
    workers[1].crash();
    gateway = world.gateway().await;
    workers[1] = world.worker_at("two", &engine(2)).await;
    for person in [&mut root, &mut ada] {
        person.turns_to(&gateway);
    }
    ada.client.succeeded(&job).await;
    let brief = wharf::push(&world, 100_000).await;
    let job = ada.pulled(&two, &brief.at(&world)).await;
    let held = ada.image_of(&job).await;
    let removal = ada.client.remove(held["id"].as_str().unwrap()).await;
    gateway.crash();
    workers[1].crash();
    gateway = world.gateway().await;
    workers[1] = world.worker_at("two", &engine(2)).await;
    for person in [&mut root, &mut ada] {
        person.turns_to(&gateway);
    }
    let removal = removal["job"]["id"].as_str().unwrap();
    ada.client.succeeded(removal).await;
    wharf.loses(2, &brief).await;
    let granted = root.grants(&ada_id, "49.5", Some("a comfort")).await;
    gateway.crash();

    // Night comes, and goes, while there is no gateway. The one that starts makes up for the clean-up: it takes every
    // private image that no container uses, and everyone is refunded, Bob too. What is public stays.
    let container = use_of(2, &used);
    wharf::a_night_passes(&world).await;
    gateway = world.gateway().await;
    for person in [&mut root, &mut ada] {
        person.turns_to(&gateway);
    }
    gateway.logged("the scheduled clean-up is done").await;
    wharf.loses(1, &private).await;
    wharf.loses(1, &late).await;
    wharf.loses(2, &elsewhere).await;
    root.when_nothing_is_under_way().await;
    assert!(wharf.has(1, &public).await && wharf.has(2, &used).await);
    assert_eq!(ada.total().await, used.left_of(1300));
    let again = root.grants(&ada_id, "49.5", Some("a comfort")).await;
    assert_eq!(again, granted);
    assert_eq!(ada.total().await, used.left_of(1300));
    assert_eq!(root.total_of(&bob_id).await, "1000");
    drop(container);

    // Everything that she did as an administrator is written down.
    let acts = root.acts().await;
    for act in [
        "CREATE_USER",
        "UPDATE_USER",
        "SET_IMAGE_VISIBILITY",
        "GRANT_CREDITS",
        "RETRY_DEAD_JOBS",
        "SWEEP_IMAGES",
    ] {
        assert!(acts.iter().any(|known| known == act), "{act}: {acts:?}");
    }

    // Bob may come back. He and Ada see what is theirs and everyone's, and nothing else, whatever they ask for.
    root.updates(&bob_id, json!({"status": "ACTIVE"})).await;
    let bob = Person::sign_in(&gateway, "bob", "seven-grey-gulls-9").await;
    strangers::see_nothing(&world, &[(&ada, &ada_id), (&bob, &bob_id)]).await;

    // Whatever happened, the books and the engines agree.
    wharf::in_order(&world, &wharf).await;
    drop(workers);
}
