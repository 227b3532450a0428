//! How many SQL statements a query costs, counted on the wire.

use serde_json::json;
use wharfinger_jobs::testing::image::TestImage;

use crate::support::graphql::Client;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::servers::{Server, engine, random_layer, unique_name};
use crate::support::world::World;

/// The statements of other tasks of the gateway fall into some of the measurements, and never into all of them.
const MEASUREMENTS: usize = 25;

/// References that the jobs are about.
const TAGS: usize = 5;

#[tokio::test]
async fn a_list_of_jobs_costs_the_same_number_of_statements_however_long_it_is() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_WORKER__CONCURRENCY", "8");
    let more = ["--credits", "100000"];
    let tokens = [world.user("ada", &more), world.user("bob", &more)];
    let admin = world.user("eve", &["--admin"]);
    let workers = [
        world.worker_at("one", &engine(1)).await,
        world.worker_at("two", &engine(2)).await,
    ];
    let proxy = PostgresProxy::start(&world.database_url()).await;
    let direct = world.database_url();
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    world.set("DATABASE_URL", &direct);
    let admin = World::client(&gateway, &admin);
    let hosts = [
        admin.online_host("one").await,
        admin.online_host("two").await,
    ];
    let name = unique_name();
    let image = TestImage::new(vec![random_layer(1000)]);
    for tag in 0..TAGS {
        world.registry.push(&name, &format!("v{tag}"), &image).await;
    }
    let mut jobs = Vec::new();
    for number in 0..100 {
        let client = World::client(&gateway, &tokens[number % 2]);
        let tag = number % TAGS;
        let reference = format!("{}/{name}:v{tag}", world.registry.address);
        jobs.push(client.pull_onto(&hosts[number / 2 % 2], &reference).await);
    }
    for job in &jobs {
        admin.succeeded(job).await;
    }

    let one = statements(&admin, &proxy, 1).await;
    let ten = statements(&admin, &proxy, 10).await;
    let hundred = statements(&admin, &proxy, 100).await;
    assert_eq!((one, ten), (hundred, hundred));
    // The token and its caller, the jobs, and one for each of hosts, images, users and attempts.
    assert!((1..=6).contains(&hundred), "{hundred} statements");

    let ada = World::client(&gateway, &tokens[0]);
    let images = "{ images(first: 5) { nodes { imageId host { name } } } }";
    let listed = ada.ask(images, json!({})).await;
    assert!(listed["images"]["nodes"][4]["host"]["name"].is_string());
    // The token and its caller, and the images with all that is asked for.
    assert_eq!(fewest(&ada, &proxy, images).await, 2);
    drop(workers);
}

/// The statements of one query for so many jobs.
async fn statements(client: &Client, proxy: &PostgresProxy, first: usize) -> usize {
    let query = "query($first: Int!) { jobs(first: $first) { nodes {
        host { name } image { reference } requestedBy { name } attempts { number }
    } } }";
    let mut fewest = usize::MAX;
    for _ in 0..MEASUREMENTS {
        let before = proxy.executed();
        let answer = client.ask(query, json!({"first": first})).await;
        fewest = fewest.min(proxy.executed() - before);
        let jobs = answer["jobs"]["nodes"].as_array().unwrap();
        assert_eq!(jobs.len(), first);
        for job in jobs {
            assert!(job["image"]["reference"].is_string(), "{job}");
            assert_eq!(job["attempts"], json!([{"number": 1}]), "{job}");
        }
    }
    fewest
}

/// The rows of a list are counted when the count is asked for, and not otherwise.
#[tokio::test]
async fn a_list_is_counted_only_when_it_is_asked_how_long_it_is() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let proxy = PostgresProxy::start(&world.database_url()).await;
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    for list in ["images", "jobs", "hosts"] {
        let page = "nodes { id } edges { cursor } pageInfo { hasNextPage endCursor }";
        let plain = fewest(&client, &proxy, &format!("{{ {list} {{ {page} }} }}")).await;
        let counted = format!("{{ {list} {{ totalCount {page} }} }}");
        let counted = fewest(&client, &proxy, &counted).await;
        assert_eq!(counted, plain + 1, "{list}");
    }
}

/// The statements of a query, without those of other tasks of the gateway.
async fn fewest(client: &Client, proxy: &PostgresProxy, query: &str) -> usize {
    let mut fewest = usize::MAX;
    for _ in 0..MEASUREMENTS {
        let before = proxy.executed();
        client.ask(query, json!({})).await;
        fewest = fewest.min(proxy.executed() - before);
    }
    fewest
}
