//! What scanners of GraphQL endpoints (graphql-cop and its like) try, and what they get.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::graphql::Client;
use crate::support::process::Process;
use crate::support::world::World;

const PASSWORD: &str = "correct horse battery staple";

/// The code of the only kind of error in an answer that has no data.
fn refused(answer: &Value) -> &str {
    assert_eq!(answer.get("data"), None, "{answer}");
    let errors = answer["errors"].as_array().expect("errors");
    errors[0]["extensions"]["code"].as_str().unwrap()
}

/// A request as it is written, with the cookie of a signed-in browser.
async fn raw(gateway: &Process, method: Method, path: &str, media: &str, body: &str) -> Answer {
    let signed_in = Client::new(&gateway.address, None)
        .post(
            "mutation($input: SignInInput!) { signIn(input: $input) { user { name } } }",
            json!({"input": {"name": "ada", "password": PASSWORD, "cookie": true}}),
        )
        .await;
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let client = Client::new(&gateway.address, None)
        .with_header("cookie", cookie)
        .with_header("content-type", media);
    let answer = client.request_with(method, path, body.to_owned()).await;
    let allow = answer.headers().get("allow");
    let allow = allow.map_or("", |allow| allow.to_str().unwrap()).to_owned();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    Answer {
        status,
        allow,
        text,
    }
}

struct Answer {
    status: StatusCode,
    allow: String,
    text: String,
}

async fn place() -> (World, String, Process) {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "0");
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let gateway = world.gateway().await;
    (world, token, gateway)
}

#[tokio::test]
async fn another_sites_form_changes_nothing_and_a_batch_is_none() {
    let (_world, token, gateway) = place().await;
    let mutation = "mutation { createApiToken(input: {name: \"forged\"}) { secret } }";
    let encoded: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", mutation)
        .finish();
    let json = json!({"query": mutation}).to_string();
    let boundary =
        format!("--b\r\ncontent-disposition: form-data; name=\"query\"\r\n\r\n{mutation}\r\n--b--");
    for (media, body) in [
        ("application/x-www-form-urlencoded", &encoded),
        ("multipart/form-data; boundary=b", &boundary),
        ("text/plain", &json),
        ("text/plain; application/json", &json),
    ] {
        let answer = raw(&gateway, Method::POST, "/graphql", media, body).await;
        assert!(
            answer.status.is_client_error(),
            "{media}: {}",
            answer.status
        );
    }
    let get = format!("/graphql?{encoded}");
    let answer = raw(&gateway, Method::GET, &get, "text/plain", "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.allow, "POST");
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = raw(&gateway, method, "/graphql", "application/json", &json).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let batch = json!([{"query": mutation}, {"query": mutation}]).to_string();
    let answer = raw(
        &gateway,
        Method::POST,
        "/graphql",
        "application/json",
        &batch,
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);

    let ada = World::client(&gateway, &token);
    let tokens = ada
        .ask("{ viewer { apiTokens { name } } }", json!({}))
        .await;
    assert!(!tokens.to_string().contains("forged"), "{tokens}");
    // A query by GET is answered: it changes nothing, and no other site's page reads the answer.
    let get = "/graphql?query=%7B__typename%7D";
    let answer = raw(&gateway, Method::GET, get, "text/plain", "").await;
    assert_eq!(answer.text, r#"{"data":{"__typename":"Query"}}"#);
}

#[tokio::test]
async fn nobody_is_told_of_the_schema_or_of_the_program() {
    let (_world, token, gateway) = place().await;
    let nobody = Client::new(&gateway.address, None);
    let ada = World::client(&gateway, &token);
    let schema = "{ __schema { queryType { name } } }";
    let (_, answer) = nobody.send(schema, json!({})).await;
    assert!(
        answer["errors"][0]["extensions"]["code"].is_string(),
        "{answer}"
    );
    assert!(!answer.to_string().contains("\"Query\""), "{answer}");
    let told = ada.ask(schema, json!({})).await;
    assert_eq!(told["__schema"]["queryType"]["name"], "Query");

    let misspelt = "{ viewr { id } }";
    let (_, answer) = nobody.send(misspelt, json!({})).await;
    assert!(!answer.to_string().contains("viewer"), "{answer}");
    let (_, answer) = ada.send(misspelt, json!({})).await;
    assert!(answer.to_string().contains("viewer"), "{answer}");

    for document in [
        "qwerty",
        "{",
        "{ a(b: }",
        "\u{0}",
        "{ viewer { id }",
        "mutation { x }",
    ] {
        for client in [&nobody, &ada] {
            let answer = client.with_header("x-apollo-tracing", "1");
            let (_, answer) = answer.send(document, json!({})).await;
            let said = answer.to_string();
            refused(&answer);
            for leak in [
                "panicked",
                ".rs:",
                "stack",
                "async-graphql",
                "tracing",
                "debug",
            ] {
                assert!(!said.contains(leak), "{document}: {said}");
            }
        }
    }
    for path in [
        "/graphiql",
        "/altair",
        "/voyager",
        "/v1/graphql",
        "/graphql/console",
        "/api/graphql",
        "/.env",
        "/.git/config",
        "/debug",
        "/actuator",
    ] {
        assert_eq!(
            nobody.get(path).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    // The playground is there for everybody, and knows no more than whoever uses it.
    assert_eq!(nobody.get("/playground").await.status(), StatusCode::OK);
}
