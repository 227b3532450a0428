//! What a browser is told: which other sites' pages may use the API.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::graphql::{Client, PASSWORD};
use crate::support::socket::Subscription;
use crate::support::world::World;

/// A page that is allowed, and one that is not.
const FRIEND: &str = "https://console.example";
const STRANGER: &str = "https://evil.example";

/// What a browser asks before it sends a page's JSON with a token.
async fn preflight(client: &Client, origin: &str) -> Response {
    client
        .with_header("origin", origin)
        .with_header("access-control-request-method", "POST")
        .with_header(
            "access-control-request-headers",
            "authorization,content-type",
        )
        .request(Method::OPTIONS, "/graphql")
        .await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn other_sites_pages_may_not_use_the_api_unless_they_are_allowed() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    let closed = world.gateway().await;
    let client = closed.client(&token);
    let answer = preflight(&client, FRIEND).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
    drop(closed);

    world.set("WHARFINGER_CORS__ALLOW_ORIGINS", FRIEND);
    let open = world.gateway().await;
    let client = open.client(&token);
    let answer = preflight(&client, FRIEND).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), FRIEND);
    assert_eq!(header(&answer, "access-control-allow-methods"), "GET,POST");
    let headers = header(&answer, "access-control-allow-headers");
    assert_eq!(headers, "authorization,content-type");
    assert_eq!(header(&answer, "access-control-max-age"), "600");
    let stranger = preflight(&client, STRANGER).await;
    assert_eq!(header(&stranger, "access-control-allow-origin"), "");

    let query = "{ balance { total } }";
    for (origin, allowed) in [(FRIEND, FRIEND), (STRANGER, ""), ("null", "")] {
        let client = client.with_header("origin", origin);
        let answer = client.post(query, json!({})).await;
        let said = header(&answer, "access-control-allow-origin");
        assert_eq!(said, allowed, "{origin}");
        // No cache may hand one page's answer to another, and cookies stay with the gateway's own pages.
        let varies: Vec<_> = answer.headers().get_all("vary").iter().collect();
        let varies = format!("{varies:?}").to_lowercase();
        for name in ["origin", "accept"] {
            assert!(varies.contains(name), "{varies}");
        }
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    }
    let exposed = client.with_header("origin", FRIEND);
    let exposed = exposed.post(query, json!({})).await;
    assert!(header(&exposed, "access-control-expose-headers").contains("retry-after"));
}

/// A browser adds the cookie to what another site's page asks for. It is worth nothing there, allowed or not.
#[tokio::test]
async fn the_cookie_is_for_the_gateways_own_pages_alone() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    world.set("WHARFINGER_CORS__ALLOW_ORIGINS", FRIEND);
    let gateway = world.gateway().await;
    let cookie = gateway.anonymous();
    let cookie = cookie.with_header("cookie", &format!("whf_session={token}"));
    let make = "mutation { createApiToken(input: {name: \"forged\"}) { secret } }";
    let own = cookie.with_header("origin", &format!("http://{}", gateway.address));
    let query = "{ balance { total } }";
    assert_eq!(own.error_code(query, json!({})).await, Value::Null);
    for page in [FRIEND, STRANGER, "null"] {
        let page = cookie.with_header("origin", page);
        for document in [query, make] {
            let code = page.error_code(document, json!({})).await;
            assert_eq!(code, "UNAUTHENTICATED");
        }
    }
    // A socket of an allowed page opens, and is closed: the page has to send a token.
    let friend = cookie.with_header("origin", FRIEND);
    assert!(Subscription::enter(&friend).await.is_none());
    let stranger = cookie.with_header("origin", STRANGER);
    assert_eq!(Subscription::upgrade_refused(&stranger).await, 403);
    // With a token of its own an allowed page may.
    let with_token = gateway.client(&token).with_header("origin", FRIEND);
    assert_eq!(with_token.error_code(query, json!({})).await, Value::Null);
}

/// Fails unless a browser is told to keep this answer to what it is.
fn protected(answer: &Response, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        // Only over TLS; and which program this is helps nobody but an attacker.
        ("strict-transport-security", ""),
        ("server", ""),
        ("x-powered-by", ""),
    ] {
        assert_eq!(header(answer, name), value, "{what}: {name}");
    }
    let policies = answer.headers().get_all("content-security-policy");
    assert_eq!(policies.iter().count(), 1, "{what}");
    let policy = header(answer, "content-security-policy");
    let directives: Vec<_> = policy.split(';').map(str::trim).collect();
    for wanted in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(directives.contains(&wanted), "{what}: {policy}");
    }
    // Styles may be inline, scripts never.
    let but_styles = directives
        .iter()
        .filter(|text| !text.starts_with("style-src"));
    for source in but_styles.flat_map(|directive| directive.split(' ')) {
        let unsafe_source = ["'unsafe-inline'", "'unsafe-eval'"].contains(&source);
        assert!(!unsafe_source, "{what}: {policy}");
    }
    for wide in ["*", "http"] {
        assert!(!policy.contains(wide), "{what}: {policy}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_it_to_what_it_is() {
    let mut world = World::embedded();
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.gateway().await;
    let board = gateway.announced("the board listens on http://").await;
    let client = gateway.anonymous();
    for path in [
        "/",
        "/playground",
        "/playground/playground.js",
        "/playground/nothing",
        "/graphql",
        "/graphql?query={__typename}",
        "/graphql?query={",
        "/schema.graphql",
        "/healthz",
        "/readyz",
        "/metrics",
        "/nothing",
        "/../etc/passwd",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "TRACE"] {
            let answer = client.request(method.parse().unwrap(), path).await;
            protected(&answer, &format!("{method} {path}"));
        }
    }
    let socket = client
        .with_header("upgrade", "websocket")
        .with_header("connection", "upgrade");
    let answer = socket.request(Method::GET, "/graphql").await;
    assert!(answer.status().is_client_error());
    protected(&answer, "half an upgrade");
    let unknown_caller = client.post("{ viewer { id } }", json!({})).await;
    protected(&unknown_caller, "a request error");

    let nobody = Client::new(&board, None);
    let eve = nobody.with_header("authorization", &format!("Bearer {admin}"));
    for path in [
        "/",
        "/index.html",
        "/api/v1/queues",
        "/api/v1/overview",
        "/nothing",
    ] {
        for (who, client) in [("nobody", &nobody), ("an administrator", &eve)] {
            for method in [Method::GET, Method::PUT] {
                let answer = client.request(method.clone(), path).await;
                protected(&answer, &format!("{method} {path} of the board for {who}"));
            }
        }
    }
}

#[tokio::test]
async fn only_a_trusted_proxy_says_that_a_client_came_over_tls() {
    let mut world = World::embedded();
    world.user_with_password("ada", PASSWORD, &[]);
    for (trusted, believed) in [("", false), ("192.0.2.0/24", false), ("127.0.0.1", true)] {
        world.set("WHARFINGER_TRUSTED_PROXIES", trusted);
        let gateway = world.gateway().await;
        let client = gateway.anonymous();
        let through = client.with_header("x-forwarded-proto", "https");
        let answer = through.sign_in_with_cookie("ada", PASSWORD).await;
        let cookie = header(&answer, "set-cookie").to_owned();
        assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        assert_eq!(cookie.contains("; Secure"), believed, "{trusted}: {cookie}");
        let strict = header(&answer, "strict-transport-security");
        assert_eq!(strict.starts_with("max-age="), believed, "{trusted}");
        let plainly = client.sign_in_with_cookie("ada", PASSWORD).await;
        assert!(!header(&plainly, "set-cookie").contains("; Secure"));
        assert_eq!(header(&plainly, "strict-transport-security"), "");
    }
}
