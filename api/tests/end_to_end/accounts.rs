//! Signing in, tokens, bans and grants, over HTTP and WebSocket, on gateways of one process and of a fleet.

use reqwest::StatusCode;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use wharfinger_entity::api_token;

use crate::support::books::{database, micro};
use crate::support::graphql::{PASSWORD, done, id, mutate};
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

const BALANCE: &str = "subscription { balanceChanged { total } }";

#[tokio::test]
async fn a_browser_signs_in_with_a_cookie_that_other_sites_cannot_use() {
    let world = World::embedded();
    world.user_with_password("ada", PASSWORD, &[]);
    let gateway = world.gateway().await;
    let page = gateway.anonymous();
    let evil = page.with_header("origin", "https://evil.example");
    let refused = evil.sign_in_with_cookie("ada", PASSWORD).await;
    assert!(!refused.headers().contains_key("set-cookie"));

    let page = page.with_header("origin", &format!("http://{}", gateway.address));
    let answer = page.sign_in_with_cookie("ada", PASSWORD).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in [
        "; HttpOnly",
        "; SameSite=Lax",
        "; Path=/",
        "; Max-Age=2592000",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let answer: Value = answer.json().await.unwrap();
    let payload = &answer["data"]["signIn"];
    assert_eq!(payload["token"], Value::Null);
    assert_eq!(payload["user"]["name"], "ada");

    let (pair, _) = cookie.split_once(';').unwrap();
    let viewer = "{ viewer { name } }";
    let signed_in = page.with_header("cookie", pair);
    let by_link = gateway.anonymous().with_header("cookie", pair);
    // No browser has no origin.
    for client in [&signed_in, &by_link] {
        assert_eq!(client.ask(viewer, json!({})).await["viewer"]["name"], "ada");
    }
    // A link on another site's page asks by GET, and the browser adds the cookie and where it was.
    for (site, expected) in [
        ("none", Value::Null),
        ("same-origin", Value::Null),
        ("same-site", json!("UNAUTHENTICATED")),
        ("cross-site", json!("UNAUTHENTICATED")),
    ] {
        let browser = by_link.with_header("sec-fetch-site", site);
        let answer = browser.query_by_get(viewer).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(*code, expected, "{site}: {answer}");
    }
    let mut socket = Subscription::start(&signed_in, BALANCE, json!({})).await;
    assert_eq!(socket.next().await.unwrap()["total"], "1000");

    let out = "mutation { signOut { userErrors { code } } }";
    let out = signed_in.post(out, json!({})).await;
    let cookie = out.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("whf_session=;") && cookie.contains("Max-Age=0"));
    assert_eq!(socket.closed().await, 4401);
    // A cookie that is good for nothing is nobody's, and does not keep anybody from signing in again.
    let code = signed_in.error_code(viewer, json!({})).await;
    assert_eq!(code, "UNAUTHENTICATED");
    signed_in.sign_in("ada", PASSWORD).await;
}

#[tokio::test]
async fn what_is_taken_away_at_one_gateway_closes_sockets_at_another() {
    let world = World::fleet(Server::Postgres).await;
    let root = world.user("root", &["--admin"]);
    let admin = world.user("admin", &["--admin"]);
    let token = world.user("ada", &[]);
    let (here, there) = (world.gateway().await, world.gateway().await);
    let (root, admin) = (here.client(&root), there.client(&admin));
    let ada = there.client(&token);
    let second = json!({"name": "second"});
    let second = done(&ada, "createApiToken", second, "secret apiToken { id }").await;
    let by_second = ada.with_token(second["secret"].as_str());

    let mut of_second = Subscription::start(&by_second, BALANCE, json!({})).await;
    let mut of_ada = Subscription::start(&ada, BALANCE, json!({})).await;
    for socket in [&mut of_second, &mut of_ada] {
        assert_eq!(socket.next().await.unwrap()["total"], "1000");
    }
    let ada_here = here.client(&token);
    let revoke = json!({"apiTokenId": id(&second["apiToken"])});
    done(&ada_here, "revokeApiToken", revoke, "").await;
    assert_eq!(of_second.closed().await, 4401);
    assert_eq!(by_second.status().await, StatusCode::UNAUTHORIZED);

    // The other one goes on.
    let user_id = ada.viewer_id().await;
    let grant = json!({"userId": user_id, "amount": "5", "reason": "more"});
    done(&root, "grantCredits", grant, "user { id }").await;
    of_ada
        .next_where("the grant is told", |balance| balance["total"] == "1005")
        .await;

    let all = "subscription { jobUpdated(all: true) { id } }";
    let mut of_admin = Subscription::start(&admin, all, json!({})).await;
    let demote = json!({"userId": admin.viewer_id().await, "role": "USER"});
    done(&root, "updateUser", demote, "user { role }").await;
    assert_eq!(of_admin.closed().await, 4403);
    let mut again = Subscription::start(&admin, all, json!({})).await;
    assert_eq!(again.refusal().await["extensions"]["code"], "FORBIDDEN");

    root.ban(&user_id).await;
    assert_eq!(of_ada.closed().await, 4401);
    assert_eq!(ada.status().await, StatusCode::UNAUTHORIZED);
    for stranger in [ada, there.anonymous()] {
        assert_eq!(Subscription::refused(&stranger).await, 4403);
    }
}

#[tokio::test]
async fn the_first_administrator_comes_from_the_settings_once() {
    let mut world = World::fleet(Server::MariaDb).await;
    let file = world.file("password", &format!("{PASSWORD}\n"));
    world.set("WHARFINGER_ADMIN__NAME", "harbourmaster");
    world.set("WHARFINGER_ADMIN__PASSWORD_FILE", &file);
    let (one, two, three) = tokio::join!(world.gateway(), world.gateway(), world.gateway());
    for gateway in [&one, &two, &three] {
        let admin = gateway.anonymous();
        let admin = admin.sign_in("harbourmaster", PASSWORD).await;
        let users = "{ users { nodes { name role } } }";
        let users = admin.ask(users, json!({})).await;
        let only = json!([{"name": "harbourmaster", "role": "ADMIN"}]);
        assert_eq!(users["users"]["nodes"], only);
    }
    drop((one, two, three));
    // Once there are users, nobody reads the file or makes another.
    std::fs::remove_file(&file).unwrap();
    world.set("WHARFINGER_ADMIN__NAME", "another");
    let gateway = world.gateway().await;
    let input = json!({"name": "another", "password": PASSWORD});
    let payload = mutate(&gateway.anonymous(), "signIn", input, "").await;
    assert_eq!(payload["userErrors"][0]["code"], "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn the_command_line_signs_in_prints_statements_and_signs_out() {
    let world = World::embedded();
    world.user_with_password("ada", PASSWORD, &[]);
    let root = world.user("root", &["--admin"]);
    let gateway = world.gateway().await;
    let url = format!("http://{}", gateway.address);
    let run = |arguments: &[&str], input: &str| {
        let output = world.run_with_input(&[arguments, &["--url", &url]].concat(), input);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let login = ["login", "--name", "ada", "--password-stdin"];
    let (code, _, errors) = run(&login, "wrong\n");
    assert_eq!(code, Some(1), "{errors}");
    let (code, _, errors) = run(&login, &format!("{PASSWORD}\n"));
    assert_eq!(code, Some(0), "{errors}");

    let admin = gateway.client(&root);
    let ada = gateway.anonymous().sign_in("ada", PASSWORD).await;
    let user_id = ada.viewer_id().await;
    // More than two pages.
    for n in 0..205 {
        let amount = if n % 3 == 2 { "-1.5" } else { "1" };
        let reason = format!("week {n}, \"so\"");
        let input = json!({"userId": user_id, "amount": amount, "reason": reason});
        done(&admin, "grantCredits", input, "").await;
    }
    let (code, csv, errors) = run(&["statement", "--csv"], "");
    assert_eq!(code, Some(0), "{errors}");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 206);
    let mut total = 0;
    for (n, row) in rows.iter().enumerate() {
        total += micro(&json!(row[2]));
        assert_eq!(total, micro(&json!(row[3])), "the running total of row {n}");
        if n > 0 {
            assert_eq!(row[5], format!("week {}, \"so\"", n - 1));
        }
    }
    let balance = ada.balance().await;
    assert_eq!(total, micro(&balance["total"]));

    let of_ada = ["statement", "--csv", "--user", "ADA"];
    let (code, _, errors) = run(&of_ada, "");
    assert_eq!(code, Some(1), "{errors}");
    let mut command = world.command(&of_ada);
    let output = command
        .env("WHARFINGER_URL", &url)
        .env("WHARFINGER_TOKEN", &root)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), csv);
    let (code, table, _) = run(&["statement"], "");
    assert_eq!((code, table.lines().count()), (Some(0), 207));

    let sign_ins = async || {
        let db = database(&world).await;
        let count = api_token::Entity::find()
            .filter(api_token::Column::SignIn.eq(true))
            .count(&db)
            .await
            .unwrap();
        db.close().await.unwrap();
        count
    };
    let before = sign_ins().await;
    let (code, out, errors) = run(&["logout"], "");
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.starts_with("Signed out"), "{out}");
    assert_eq!(sign_ins().await, before - 1);
    assert_eq!(run(&["balance"], "").0, Some(4));
    assert_eq!(run(&["logout"], "").0, Some(0));
    assert_eq!(ada.status().await, StatusCode::OK, "signed in elsewhere");
}
