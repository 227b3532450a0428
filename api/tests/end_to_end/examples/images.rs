//! What one holds: lists, single images, and letting go.

use serde_json::{Value, json};

use super::Examples;
use crate::support::graphql::id;
use crate::support::images::pushed;
use crate::support::world::World;

#[tokio::test]
async fn examples_of_images() {
    let world = World::embedded();
    let (_gateway, ada) = world.serve_to("ada").await;
    let host = ada.online_host("one").await;
    let (mut references, mut images) = (Vec::new(), Vec::new());
    for bytes in [3000, 2000, 1000] {
        let reference = pushed(&world, bytes).await;
        let job = ada.pull(&reference).await;
        images.push(id(&ada.succeeded(&job).await["image"]));
        references.push(reference);
    }
    let mut examples = Examples::of("images");

    // Forwards, newest first, and backwards.
    let (mut pages, mut after) = (Vec::new(), Value::Null);
    loop {
        let next = json!({"first": 2, "after": after});
        let page = examples.run(&ada, "images", next).await;
        pages.push(ids(&page["nodes"]));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    let [first, second, third] = [0, 1, 2].map(|number: usize| images[number].clone());
    assert_eq!(pages, [vec![third, second], vec![first]]);
    let last = json!({"last": 2});
    let page = examples.run(&ada, "images_before", last).await;
    assert_eq!(page["edges"][1]["node"]["id"], images[0]);
    let before = json!({"last": 2, "before": page["pageInfo"]["startCursor"]});
    let page = examples.run(&ada, "images_before", before).await;
    assert_eq!(page["edges"][0]["node"]["id"], images[2]);
    assert_eq!(page["pageInfo"]["hasPreviousPage"], false);

    let image = examples.run(&ada, "image", json!({"id": images[0]})).await;
    assert_eq!(image["reference"], references[0]);
    let node = examples.run(&ada, "node", json!({"id": images[0]})).await;
    assert_eq!(node["__typename"], "Image");
    assert_eq!(node["imageState"], "HELD");
    let both = json!({"ids": [images[0], host]});
    let nodes = examples.run(&ada, "nodes", both).await;
    assert_eq!(nodes[1]["__typename"], "Host");

    let input = json!({"input": {"imageId": images[0]}});
    let removal = examples.run(&ada, "remove_image", input).await;
    ada.succeeded(&id(&removal["job"])).await;
    // What they have in common, in capitals: the registry and the beginning of the names.
    let search = format!("{}/E2E-", world.registry.address);
    let filter = json!({"filter": {"search": search, "hostId": host}});
    let found = examples.run(&ada, "search_images", filter).await;
    assert_eq!(ids(&found["nodes"]), images);
    assert_eq!(found["totalCount"], 3);
    assert_eq!(found["nodes"][0]["state"], "RELEASED");
    let known = json!({"imageId": images[1], "hostId": host});
    examples.run_the_rest(&ada, &known).await;
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(id).collect()
}
