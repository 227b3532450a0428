//! How many SQL statements a query costs, counted on the wire.

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{host, job, job_attempt};

use super::client::Client;
use super::gateway::{Gateway, Store};
use super::postgres_proxy::PostgresProxy;
use super::{rows, user_id};

/// A second gateway over the same database, whose statements are counted.
async fn counted(gateway: &Gateway) -> (Gateway, PostgresProxy) {
    let proxy = PostgresProxy::start(&gateway.database_url()).await;
    (gateway.over(&proxy.url).await, proxy)
}

/// The statements of a query.
async fn fewest(client: &Client, proxy: &PostgresProxy, query: &str) -> usize {
    let ask = async || drop(client.ask(query, json!({})).await);
    proxy.fewest(ask).await
}

#[tokio::test]
async fn a_list_of_jobs_costs_the_same_number_of_statements_however_long_it_is() {
    let plain = Gateway::on(Store::Postgres).await;
    let users = [plain.make_rich("ada").await, plain.make_rich("bob").await];
    let admin = plain.admin("eve").await;
    let services = &plain.services;
    let mut hosts = Vec::new();
    for _ in 0..2 {
        hosts.push(rows::host(services, |_: &mut host::ActiveModel| ()).await);
    }
    for number in 0..100 {
        let (client, host) = (&users[number % 2], hosts[number / 2 % 2]);
        let reference = format!("127.0.0.1:1/x:{number}");
        let name = format!("host_{}", host.simple());
        let job = client.pull_onto(&name, &reference).await;
        let job: Uuid = job.strip_prefix("job_").unwrap().parse().unwrap();
        let holder = Some(user_id(client).await);
        let image = rows::hold(services, host, holder, &reference).await;
        tried(&plain, job, image).await;
    }

    let (gateway, proxy) = counted(&plain).await;
    let admin = gateway.anonymous().with_token(admin.token.as_deref());
    let mut costs = Vec::new();
    for first in [1, 10, 100] {
        let query = format!(
            "{{ jobs(first: {first}) {{ nodes {{
                host {{ name }} image {{ reference }} requestedBy {{ name }} attempts {{ number }}
            }} }} }}"
        );
        let jobs = admin.ask(&query, json!({})).await["jobs"]["nodes"].take();
        assert_eq!(jobs.as_array().unwrap().len(), first);
        for job in jobs.as_array().unwrap() {
            assert!(job["image"]["reference"].is_string(), "{job}");
            assert_eq!(job["attempts"], json!([{"number": 1}]), "{job}");
        }
        costs.push(fewest(&admin, &proxy, &query).await);
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    // The token and its caller, the jobs, and one for each of hosts, images, users and attempts.
    assert!((1..=6).contains(&costs[0]), "{costs:?}");

    let ada = gateway.anonymous().with_token(users[0].token.as_deref());
    let images = "{ images(first: 5) { nodes { imageId host { name } } } }";
    let listed = ada.ask(images, json!({})).await;
    assert!(listed["images"]["nodes"][4]["host"]["name"].is_string());
    // The token and its caller, and the images with all that is asked for.
    assert_eq!(fewest(&ada, &proxy, images).await, 2);
}

/// A job has been tried, and brought this.
async fn tried(gateway: &Gateway, job: Uuid, image: Uuid) {
    let db = gateway.services.db.write();
    let brought = job::ActiveModel {
        id: Set(job),
        image_id: Set(Some(image)),
        ..Default::default()
    };
    brought.update(db).await.unwrap();
    let attempt = job_attempt::Model {
        id: Uuid::now_v7(),
        job_id: job,
        number: 1,
        worker: "one/1".to_owned(),
        started_at: gateway.services.clock.now(),
        finished_at: None,
        error_code: None,
        error_message: None,
        error_retryable: None,
    };
    let attempt = job_attempt::ActiveModel::from(attempt).reset_all();
    let inserted = job_attempt::Entity::insert(attempt);
    inserted.exec_without_returning(db).await.unwrap();
}

/// The rows of a list are counted when the count is asked for, and not otherwise.
#[tokio::test]
async fn a_list_is_counted_only_when_it_is_asked_how_long_it_is() {
    let plain = Gateway::on(Store::Postgres).await;
    let client = plain.user("ada").await;
    let (gateway, proxy) = counted(&plain).await;
    let client = gateway.anonymous().with_token(client.token.as_deref());
    for list in ["images", "jobs", "hosts"] {
        let page = "nodes { id } edges { cursor } pageInfo { hasNextPage endCursor }";
        let plain = fewest(&client, &proxy, &format!("{{ {list} {{ {page} }} }}")).await;
        let counted = format!("{{ {list} {{ totalCount {page} }} }}");
        let counted = fewest(&client, &proxy, &counted).await;
        assert_eq!(counted, plain + 1, "{list}");
    }
}
