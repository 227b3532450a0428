//! Public images as the API tells of them. What becomes of credits and engines is tested in `jobs/tests/life/public.rs`.

use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use wharfinger_entity::{Role, engine_image, host};

use super::client::{Client, done, id, mutate};
use super::gateway::{Gateway, Store};
use super::{on_both, refusal, rows, user_id};

on_both!(an_image_is_published_and_used_by_everyone);

/// The payload of `setImageVisibility`.
async fn set(client: &Client, image_id: &str, visibility: &str) -> Value {
    let input = json!({"imageId": image_id, "visibility": visibility});
    let fields = "image { id reference visibility state charge }";
    mutate(client, "setImageVisibility", input, fields).await
}

/// The images that a user sees, with a filter.
async fn images(client: &Client, filter: Value) -> Value {
    let query =
        "query($filter: ImageFilter) { images(filter: $filter) { nodes { id visibility } } }";
    client.ask(query, json!({"filter": filter})).await["images"]["nodes"].take()
}

async fn an_image_is_published_and_used_by_everyone(store: Store) {
    let gateway = Gateway::on(store).await;
    let (ada, bob) = (gateway.user("ada").await, gateway.user("bob").await);
    let carol = gateway.make("carol", Role::User, "0", None).await;
    let eve = gateway.admin("eve").await;
    let services = &gateway.services;
    let host = rows::host(services, |_: &mut host::ActiveModel| ()).await;
    let reference = "127.0.0.1:1/x:1";
    let held = rows::hold(services, host, Some(user_id(&ada).await), reference).await;
    let there = engine_image::Entity::find().one(services.db.read()).await;
    let there = there.unwrap().unwrap();
    rows::hold_too(services, &there, Some(user_id(&bob).await), reference).await;
    let adas = format!("image_{}", held.simple());
    let bobs = images(&bob, json!({})).await;

    let unknown = set(&eve, "image_0123456789abcdef0123456789abcdef", "PUBLIC").await;
    assert_eq!(unknown["image"], Value::Null);
    let expected = ("IMAGE_NOT_FOUND", &json!(["input", "imageId"]));
    assert_eq!(refusal(&unknown), expected);
    let published = set(&eve, &adas, "PUBLIC").await;
    assert_eq!(published["userErrors"], json!([]));
    let public = &published["image"];
    let shown = json!({
        "id": public["id"], "reference": reference, "visibility": "PUBLIC", "state": "HELD", "charge": "0",
    });
    assert_eq!(*public, shown);
    // Again, by whatever holding of it: the same answer, and nothing happens.
    for again in [&adas, &id(&bobs[0]), &id(public)] {
        assert_eq!(set(&eve, again, "PUBLIC").await, published);
        let private = set(&eve, again, "PRIVATE").await;
        assert_eq!(refusal(&private).0, "NOT_REMOVABLE");
        assert_eq!(private["image"], Value::Null);
    }
    for (holder, own) in [(&ada, &json!(adas)), (&bob, &bobs[0]["id"])] {
        let released = images(holder, json!({"states": ["RELEASED"]})).await;
        assert_eq!(released, json!([{"id": own, "visibility": "PRIVATE"}]));
    }

    // Everyone sees it, and gets it at once for nothing.
    let everyones = json!([{"id": public["id"], "visibility": "PUBLIC"}]);
    for user in [&ada, &bob, &carol, &eve] {
        assert_eq!(images(user, json!({})).await, everyones);
        let filter = json!({"visibility": "PUBLIC"});
        assert_eq!(images(user, filter).await, everyones);
        let filter = json!({"visibility": "PRIVATE"});
        assert_eq!(images(user, filter).await, json!([]));
        let image = "query($id: ID!) { image(id: $id) { id visibility } }";
        let image = user.ask(image, json!({"id": public["id"]})).await;
        assert_eq!(image["image"], everyones[0]);
    }
    let payload = carol.try_pull(json!({"reference": reference})).await;
    assert_eq!(payload["userErrors"], json!([]));
    assert_eq!(payload["job"]["state"], "SUCCEEDED");
    assert_eq!(payload["job"]["image"]["id"], public["id"]);

    let refused = ada.remove(&id(public)).await;
    assert_eq!(refusal(&refused).0, "NOT_REMOVABLE");
    let removal = json!({"imageId": public["id"]});
    done(&eve, "removeImage", removal, "job { id }").await;
    let log = "{ auditLog { nodes { action subject } } }";
    let log = eve.ask(log, json!({})).await["auditLog"]["nodes"].take();
    let acts = log.as_array().unwrap().iter();
    let acts = acts.filter(|act| act["subject"] == reference);
    let acts: Vec<_> = acts.map(|act| &act["action"]).collect();
    assert_eq!(acts, ["REMOVE_PUBLIC_IMAGE", "SET_IMAGE_VISIBILITY"]);
}
