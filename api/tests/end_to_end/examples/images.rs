//! What one holds: lists, single images, and letting go.

use serde_json::{Value, json};

use super::Examples;
use crate::support::graphql::id;
use crate::support::images::pushed;
use crate::support::servers::engine;
use crate::support::world::World;

#[tokio::test]
async fn examples_of_images() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    let ada = World::client(&gateway, &token);
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
        let page = examples
            .run(&ada, "images", json!({"first": 2, "after": after}))
            .await;
        pages.push(ids(&page["nodes"]));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    let newest_first = [
        vec![images[2].clone(), images[1].clone()],
        vec![images[0].clone()],
    ];
    assert_eq!(pages, newest_first);
    let page = examples
        .run(&ada, "images_before", json!({"last": 2}))
        .await;
    assert_eq!(page["edges"][1]["node"]["id"], images[0]);
    let before = &page["pageInfo"]["startCursor"];
    let page = examples
        .run(&ada, "images_before", json!({"last": 2, "before": before}))
        .await;
    assert_eq!(page["edges"][0]["node"]["id"], images[2]);
    assert_eq!(page["pageInfo"]["hasPreviousPage"], false);

    let image = examples.run(&ada, "image", json!({"id": images[0]})).await;
    assert_eq!(image["reference"], references[0]);
    let node = examples.run(&ada, "node", json!({"id": images[0]})).await;
    assert_eq!(
        (&node["__typename"], &node["imageState"]),
        (&json!("Image"), &json!("HELD"))
    );
    let nodes = examples
        .run(&ada, "nodes", json!({"ids": [images[0], host]}))
        .await;
    assert_eq!(nodes[1]["__typename"], "Host");

    let input = json!({"imageId": images[0]});
    let removal = examples
        .run(&ada, "remove_image", json!({"input": input}))
        .await;
    ada.succeeded(&id(&removal["job"])).await;
    // What they have in common, in capitals: the registry and the beginning of the names.
    let search = format!("{}/E2E-", world.registry.address);
    let filter = json!({"search": search, "hostId": host});
    let found = examples
        .run(&ada, "search_images", json!({"filter": filter}))
        .await;
    assert_eq!(ids(&found["nodes"]), images);
    assert_eq!(found["totalCount"], 3);
    assert_eq!(found["nodes"][0]["state"], "RELEASED");
    examples.all_were_run();
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(id).collect()
}
