//! The playground of the real program in a real browser: it works, and asks nothing of any other host.

use serde_json::json;

use crate::support::browser::{Browser, QUERY_EDITOR, RESULT};
use crate::support::images::pushed;
use crate::support::world::World;

/// What a visitor does: a query, a pull, and its progress to the end, signed in by the headers editor.
#[tokio::test]
async fn a_pull_is_asked_for_and_watched_and_nothing_leaves_for_another_host() {
    let world = World::embedded();
    let (gateway, ada) = world.serve_to("ada").await;
    let image = pushed(&world, 1000).await;
    let own = format!("http://{}/", gateway.address);
    let own_socket = own.replace("http:", "ws:");
    let mut page = Browser::open(&format!("{own}playground"), &[]).await;

    // The schema is there for whoever is not signed in: the editor completes and checks with it.
    page.until(&format!("{QUERY_EDITOR}?.options.lint?.schema"))
        .await;
    let refused = page.run("{ balance { total } }", &json!({})).await;
    assert!(refused.contains("UNAUTHENTICATED"), "{refused}");

    let bearer = json!({"Authorization": format!("Bearer {}", ada.token.unwrap())});
    page.set_headers(&bearer).await;
    let balance = page.run("{ balance { available } }", &json!({})).await;
    assert!(balance.contains(r#""available": "1000""#), "{balance}");

    let reference = json!({"reference": image});
    let pull = "mutation ($reference: String!) { pullImage(input: { reference: $reference }) \
                { job { id } userErrors { message } } }";
    let accepted = page.run(pull, &reference).await;
    let accepted: serde_json::Value = serde_json::from_str(&accepted).unwrap();
    let id = &accepted["data"]["pullImage"]["job"]["id"];
    assert!(id.is_string(), "{accepted}");

    let watch = "subscription ($id: ID!) { pullProgress(jobId: $id) { phase job { state } } }";
    page.start(watch, &json!({"id": id})).await;
    page.until(&format!(
        r#"{RESULT}.includes('"phase": "DONE"') && {RESULT}.includes('SUCCEEDED')"#
    ))
    .await;

    page.start(
        "subscription { balanceChanged { available held } }",
        &json!({}),
    )
    .await;
    page.until(&format!(r#"{RESULT}.includes('"held": "0"')"#))
        .await;

    for (name, width, height, scheme) in [
        ("light", 1280, 800, "light"),
        ("dark", 1280, 800, "dark"),
        ("narrow", 480, 900, "light"),
    ] {
        page.look(width, height, scheme).await;
        page.screenshot(name).await;
        let inside = "document.documentElement.scrollWidth <= window.innerWidth";
        assert!(page.holds(inside).await, "the {name} page is too wide");
    }

    let sockets = page.requests.iter().filter(|url| url.starts_with("ws:"));
    assert!(sockets.count() >= 2, "{:?}", page.requests);
    page.kept_to(&[&own, &own_socket, "data:"]);
}
