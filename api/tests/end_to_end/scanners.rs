//! What scanners of GraphQL endpoints (graphql-cop and its like) try, and what they get. What a form of another site can
//! send is in `api/tests/http/post_get.rs`, and who is told of the schema in `limits/documents.rs`.

use serde_json::json;

use crate::support::world::World;

#[tokio::test]
async fn nobody_is_told_of_the_program() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let anonymous = gateway.anonymous();
    for document in [
        "qwerty",
        "{",
        "{ a(b: }",
        "\u{0}",
        "{ viewer { id }",
        "mutation { x }",
    ] {
        for client in [&anonymous, &gateway.client(&token)] {
            let client = client.with_header("x-apollo-tracing", "1");
            let (_, answer) = client.send(document, json!({})).await;
            assert_eq!(answer.get("data"), None, "{answer}");
            let code = &answer["errors"][0]["extensions"]["code"];
            assert!(code.is_string(), "{answer}");
            let said = answer.to_string();
            for leak in "panicked .rs: stack async-graphql tracing debug".split(' ') {
                assert!(!said.contains(leak), "{document}: {said}");
            }
        }
    }
    let paths = "/graphiql /altair /voyager /v1/graphql /graphql/console /api/graphql /.env /.git/config /debug /actuator";
    for path in paths.split(' ') {
        let status = anonymous.get(path).await.status();
        assert_eq!(status, 404, "{path}");
    }
}
