//! Pages of lists, forwards and backwards, and what is on them.

use serde_json::{Value, json};
use wharfinger_entity::host;

use super::client::Client;
use super::gateway::{Gateway, Store};
use super::{each, on_both, rows, user_id};

on_both!(
    a_list_is_read_page_by_page_in_both_directions,
    images_are_filtered_and_ordered,
);

/// A page of the jobs.
async fn page(client: &Client, arguments: Value) -> Value {
    let query = "query($first: Int, $after: String, $last: Int, $before: String) {
        jobs(first: $first, after: $after, last: $last, before: $before) {
            totalCount nodes { id } edges { cursor node { id } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    }";
    let page = client.ask(query, arguments).await["jobs"].take();
    // Nodes and edges are the same things, and the page's ends are those of its edges.
    let edges = page["edges"].as_array().unwrap();
    let nodes: Vec<_> = edges.iter().map(|edge| edge["node"].clone()).collect();
    assert_eq!(page["nodes"], json!(nodes));
    let cursor = |edge: Option<&Value>| edge.map_or(Value::Null, |edge| edge["cursor"].clone());
    assert_eq!(page["pageInfo"]["startCursor"], cursor(edges.first()));
    assert_eq!(page["pageInfo"]["endCursor"], cursor(edges.last()));
    assert_eq!(page["totalCount"], 5);
    page
}

async fn a_list_is_read_page_by_page_in_both_directions(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.make_rich("ada").await;
    rows::host(&gateway.services, |_: &mut host::ActiveModel| ()).await;
    let mut jobs = Vec::new();
    for number in 0..5 {
        jobs.push(client.pull(&format!("127.0.0.1:1/x:{number}")).await);
    }
    // Newest first.
    jobs.reverse();
    let shows = async |arguments: Value, expected: &[String], before: bool, after: bool| {
        let page = page(&client, arguments.clone()).await;
        assert_eq!(each(&page, "id"), expected, "{arguments}");
        let info = &page["pageInfo"];
        let more = (&info["hasPreviousPage"], &info["hasNextPage"]);
        assert_eq!(more, (&json!(before), &json!(after)), "{arguments}");
        (info["startCursor"].clone(), info["endCursor"].clone())
    };

    shows(json!({}), &jobs, false, false).await;
    let (_, after) = shows(json!({"first": 2}), &jobs[..2], false, true).await;
    let second = json!({"first": 2, "after": after});
    let (_, after) = shows(second, &jobs[2..4], true, true).await;
    let third = json!({"first": 2, "after": after});
    shows(third, &jobs[4..], true, false).await;
    let (before, _) = shows(json!({"last": 2}), &jobs[3..], true, false).await;
    let middle = json!({"last": 2, "before": before});
    shows(middle, &jobs[1..3], true, true).await;
    let none = page(&client, json!({"first": 0})).await;
    assert_eq!(none["nodes"], json!([]));

    for senseless in [
        json!({"first": 101}),
        json!({"first": -1}),
        json!({"last": 101}),
        json!({"first": 1, "last": 1}),
        json!({"after": "nothing"}),
    ] {
        let query = "query($first: Int, $after: String, $last: Int) {
            jobs(first: $first, after: $after, last: $last) { nodes { id } }
        }";
        let code = client.error_code(query, senseless.clone()).await;
        assert_eq!(code, "BAD_REQUEST", "{senseless}");
    }
}

async fn images_are_filtered_and_ordered(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.user("ada").await;
    let (services, ada) = (&gateway.services, user_id(&client).await);
    let host = rows::host(services, |_: &mut host::ActiveModel| ()).await;
    let references = ["c", "a", "b"].map(|name| format!("docker.io/library/{name}:1"));
    for reference in &references {
        rows::hold(services, host, Some(ada), reference).await;
    }
    let query = "query($filter: ImageFilter, $order: ImageOrder) {
        images(filter: $filter, orderBy: $order) { totalCount nodes { reference } }
    }";
    let [c, a, b] = references.each_ref().map(String::as_str);
    for (filter, order, expected) in [
        (json!({}), "REFERENCE_ASC", &[a, b, c][..]),
        (json!({}), "PULLED_AT_ASC", &[c, a, b]),
        (json!({"search": "LIBRARY/B"}), "SIZE_DESC", &[b]),
        (json!({"states": ["RELEASED"]}), "PULLED_AT_ASC", &[]),
        (json!({"visibility": "PUBLIC"}), "PULLED_AT_ASC", &[]),
    ] {
        let variables = json!({"filter": filter, "order": order});
        let images = client.ask(query, variables).await["images"].take();
        assert_eq!(each(&images, "reference"), expected, "{filter}");
        assert_eq!(images["totalCount"], expected.len());
    }
}
