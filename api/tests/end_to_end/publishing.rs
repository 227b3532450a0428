//! Public images as the API tells of them.

use serde_json::{Value, json};

use crate::crashes::pushed;
use crate::support::graphql::{Client, id};
use crate::support::servers::{Server, engine};
use crate::support::world::World;

/// The whole answer to `setImageVisibility`.
async fn set(client: &Client, image_id: &str, visibility: &str) -> Value {
    let query = "mutation($input: SetImageVisibilityInput!) { setImageVisibility(input: $input) {
        image { id reference visibility state charge imageId }
        userErrors { code message field }
    } }";
    let input = json!({"imageId": image_id, "visibility": visibility});
    client.send(query, json!({"input": input})).await.1
}

/// The payload where it was allowed.
async fn allowed(client: &Client, image_id: &str, visibility: &str) -> Value {
    let mut answer = set(client, image_id, visibility).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    answer["data"]["setImageVisibility"].take()
}

/// The images that somebody sees, with a filter.
async fn images(client: &Client, filter: Value) -> Vec<Value> {
    let query = "query($filter: ImageFilter) { images(filter: $filter) { totalCount nodes { id visibility } } }";
    let list = client.ask(query, json!({"filter": filter})).await["images"].take();
    let nodes = list["nodes"].as_array().unwrap().clone();
    assert_eq!(list["totalCount"], nodes.len());
    nodes
}

async fn pulled(client: &Client, reference: &str) -> String {
    let job = client.pull(reference).await;
    id(&client.succeeded(&job).await["image"])
}

#[tokio::test]
async fn an_image_is_published_used_by_everyone_and_removed() {
    used_by_everyone(World::embedded()).await;
}

#[tokio::test]
async fn an_image_is_published_used_by_everyone_and_removed_on_postgres() {
    used_by_everyone(World::fleet(Server::Postgres).await).await;
}

#[tokio::test]
async fn an_image_is_published_used_by_everyone_and_removed_on_mariadb() {
    used_by_everyone(World::fleet(Server::MariaDb).await).await;
}

async fn used_by_everyone(world: World) {
    let (ada, bob) = (world.user("ada", &[]), world.user("bob", &[]));
    let carol = world.user("carol", &["--credits", "0"]);
    let eve = world.user("eve", &["--admin"]);
    let gateway = world.serve(&engine(1)).await;
    let client = |token: &str| World::client(&gateway, token);
    let (ada, bob, carol, eve) = (client(&ada), client(&bob), client(&carol), client(&eve));
    let reference = pushed(&world, 100_000).await;
    let adas = pulled(&ada, &reference).await;
    let bobs = pulled(&bob, &reference).await;
    assert_ne!(ada.balance().await["total"], "1000");

    let refused = set(&ada, &adas, "PUBLIC").await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let unknown = allowed(&eve, "image_0123456789abcdef0123456789abcdef", "PUBLIC").await;
    assert_eq!(unknown["image"], Value::Null);
    assert_eq!(unknown["userErrors"][0]["code"], "IMAGE_NOT_FOUND");
    assert_eq!(
        unknown["userErrors"][0]["field"],
        json!(["input", "imageId"])
    );

    let published = allowed(&eve, &adas, "PUBLIC").await;
    assert_eq!(published["userErrors"], json!([]));
    let public = published["image"].clone();
    assert_eq!(
        public,
        json!({
            "id": public["id"], "reference": reference, "visibility": "PUBLIC", "state": "HELD", "charge": "0",
            "imageId": public["imageId"],
        })
    );
    // Again, by whatever holding of it: the same answer, and nothing happens.
    for again in [&adas, &bobs, &id(&public)] {
        assert_eq!(allowed(&eve, again, "PUBLIC").await, published);
        let private = allowed(&eve, again, "PRIVATE").await;
        assert_eq!(private["userErrors"][0]["code"], "NOT_REMOVABLE");
        assert_eq!(private["image"], Value::Null);
    }
    for holder in [&ada, &bob] {
        let (held, total) = (
            &holder.balance().await["held"],
            &holder.balance().await["total"],
        );
        assert_eq!((held, total), (&json!("0"), &json!("1000")));
        let released = images(holder, json!({"states": ["RELEASED"]})).await;
        assert_eq!(released.len(), 1);
        assert_eq!(released[0]["visibility"], "PRIVATE");
    }

    // Everyone sees it, and gets it at once for nothing.
    let everyones = json!([{"id": public["id"], "visibility": "PUBLIC"}]);
    for user in [&ada, &bob, &carol, &eve] {
        assert_eq!(json!(images(user, json!({})).await), everyones);
        let filter = json!({"visibility": "PUBLIC"});
        assert_eq!(json!(images(user, filter).await), everyones);
        assert_eq!(
            images(user, json!({"visibility": "PRIVATE"})).await.len(),
            0
        );
        let image = "query($id: ID!) { image(id: $id) { id visibility } }";
        let image = user.ask(image, json!({"id": public["id"]})).await;
        assert_eq!(image["image"], everyones[0]);
    }
    let payload = carol.try_pull(json!({"reference": reference})).await;
    assert_eq!(payload["userErrors"], json!([]));
    assert_eq!(payload["job"]["state"], "SUCCEEDED");
    assert_eq!(payload["job"]["image"]["id"], public["id"]);
    assert_eq!(carol.balance().await["total"], "0");

    let refused = ada.remove(&id(&public)).await;
    assert_eq!(refused["userErrors"][0]["code"], "NOT_REMOVABLE");
    let removal = eve.remove(&id(&public)).await;
    assert_eq!(removal["userErrors"], json!([]));
    eve.succeeded(&id(&removal["job"])).await;
    assert_eq!(images(&carol, json!({})).await.len(), 0);

    let log = "{ auditLog { nodes { action subject } } }";
    let log = eve.ask(log, json!({})).await["auditLog"]["nodes"].take();
    let acts: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|act| act["subject"] == reference.as_str())
        .map(|act| act["action"].clone())
        .collect();
    assert_eq!(acts, ["REMOVE_PUBLIC_IMAGE", "SET_IMAGE_VISIBILITY"]);
}
