//! Pages of lists, forwards and backwards.

use serde_json::{Value, json};

use crate::crashes::pushed;
use crate::support::graphql::Client;
use crate::support::servers::engine;
use crate::support::world::World;

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

fn ids(page: &Value) -> Vec<&str> {
    let nodes = page["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect()
}

fn more(page: &Value) -> (bool, bool) {
    let info = &page["pageInfo"];
    let (before, after) = (&info["hasPreviousPage"], &info["hasNextPage"]);
    (before.as_bool().unwrap(), after.as_bool().unwrap())
}

#[tokio::test]
async fn a_list_is_read_page_by_page_in_both_directions() {
    let world = World::embedded();
    let token = world.user("ada", &["--credits", "10000"]);
    let gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(client.pull(&pushed(&world, 100).await).await);
    }
    for job in &jobs {
        client.succeeded(job).await;
    }
    // Newest first.
    jobs.reverse();

    let all = page(&client, json!({})).await;
    assert_eq!(ids(&all), jobs);
    let first = page(&client, json!({"first": 2})).await;
    assert_eq!(
        (ids(&first), more(&first)),
        (as_strs(&jobs[..2]), (false, true))
    );
    let after = &first["pageInfo"]["endCursor"];
    let second = page(&client, json!({"first": 2, "after": after})).await;
    assert_eq!(
        (ids(&second), more(&second)),
        (as_strs(&jobs[2..4]), (true, true))
    );
    let after = &second["pageInfo"]["endCursor"];
    let third = page(&client, json!({"first": 2, "after": after})).await;
    assert_eq!(
        (ids(&third), more(&third)),
        (as_strs(&jobs[4..]), (true, false))
    );

    let last = page(&client, json!({"last": 2})).await;
    assert_eq!(
        (ids(&last), more(&last)),
        (as_strs(&jobs[3..]), (true, false))
    );
    let before = &last["pageInfo"]["startCursor"];
    let middle = page(&client, json!({"last": 2, "before": before})).await;
    assert_eq!(
        (ids(&middle), more(&middle)),
        (as_strs(&jobs[1..3]), (true, true))
    );
    let none = page(&client, json!({"first": 0})).await;
    assert_eq!(ids(&none), Vec::<&str>::new());

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
        let (_, answer) = client.send(query, senseless.clone()).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "BAD_REQUEST",
            "{senseless}"
        );
    }
    images(&client).await;
}

fn as_strs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

/// Images are filtered and ordered.
async fn images(client: &Client) {
    let query = "query($filter: ImageFilter, $order: ImageOrder) {
        images(filter: $filter, orderBy: $order) { totalCount nodes { reference } }
    }";
    let references = async |filter: Value, order: &str| -> Vec<String> {
        let variables = json!({"filter": filter, "order": order});
        let images = client.ask(query, variables).await["images"].take();
        let nodes = images["nodes"].as_array().unwrap();
        assert_eq!(images["totalCount"], nodes.len());
        let text = |node: &Value| node["reference"].as_str().unwrap().to_owned();
        nodes.iter().map(text).collect()
    };
    let by_name = references(json!({}), "REFERENCE_ASC").await;
    assert_eq!(by_name.len(), 5);
    assert!(by_name.is_sorted());
    let search = json!({"search": by_name[2].to_uppercase()});
    assert_eq!(references(search, "SIZE_DESC").await, by_name[2..3]);
    let released = json!({"states": ["RELEASED"]});
    assert_eq!(
        references(released, "PULLED_AT_ASC").await,
        Vec::<String>::new()
    );
    let public = json!({"visibility": "PUBLIC"});
    assert_eq!(
        references(public, "PULLED_AT_ASC").await,
        Vec::<String>::new()
    );
}
