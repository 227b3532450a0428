//! The board of the queues: who sees it, that it agrees with the database, that it changes nothing, and how it looks.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use sea_orm::{EntityTrait as _, QueryOrder as _};
use serde_json::{Value, json};
use wharfinger_entity::{JobState, job};

use crate::support::books::database;
use crate::support::browser::Browser;
use crate::support::graphql::done;
use crate::support::images::pushed;
use crate::support::private_redis::PrivateRedis;
use crate::support::process::Process;
use crate::support::servers::unique_name;
use crate::support::world::World;

/// A gateway with a board, an administrator, and jobs that ended in every way there is.
struct Board {
    world: World,
    _gateway: Process,
    address: String,
    admin: String,
    user: String,
    dead: Vec<String>,
}

async fn board(redis: bool) -> Board {
    let mut world = World::embedded();
    if redis {
        let redis = PrivateRedis::start().await;
        world.set("REDIS_URL", &redis.url());
        world.redis = Some(redis);
    }
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let user = world.user("ada", &["--credits", "10000"]);
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve().await;
    let address = gateway.announced("the board listens on http://").await;
    let (ada, eve) = (gateway.client(&user), gateway.client(&admin));
    eve.online_host("one").await;
    let succeeded = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&succeeded).await;
    let missing = format!("{}/{}:1", world.registry.address, unique_name());
    let failed = ada.pull(&missing).await;
    assert_eq!(ada.ended(&failed).await["state"], "FAILED");
    let mut dead = Vec::new();
    for _ in 0..3 {
        let job = ada.pull("127.0.0.1:1/nowhere:1").await;
        assert_eq!(ada.ended(&job).await["state"], "DEAD");
        dead.push(job);
    }
    let discarded = json!({"jobId": dead.remove(0)});
    done(&eve, "discardJob", discarded, "").await;
    // So that a job waits for as long as is looked.
    let pause = json!({"queue": "one", "paused": true});
    done(&eve, "setQueuePaused", pause, "").await;
    ada.pull(&pushed(&world, 1000).await).await;
    Board {
        world,
        _gateway: gateway,
        address,
        admin,
        user,
        dead,
    }
}

impl Board {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.request(Method::GET, &format!("/api/v1{path}"));
        let answer = request.bearer_auth(&self.admin).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// The ids of the tasks of a list.
    async fn tasks(&self, path: &str) -> Vec<String> {
        let tasks = self.get(path).await;
        let tasks = tasks.as_array().unwrap().iter();
        tasks
            .map(|task| task["ctx"]["task_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn the_board_of_one_process_agrees_with_the_database_and_works_in_a_browser() {
    let board = board(false).await;
    agrees(&board).await;
    let cookie = json!({"name": "whf_session", "value": board.admin, "url": board.url("/")});
    works(&board, "embedded", &[("Network.setCookie", cookie)]).await;
}

#[tokio::test]
async fn the_board_over_redis_agrees_with_the_database_and_works_in_a_browser() {
    let board = board(true).await;
    agrees(&board).await;
    let headers = json!({"headers": {"Authorization": format!("Bearer {}", board.admin)}});
    works(&board, "redis", &[("Network.setExtraHTTPHeaders", headers)]).await;
}

#[tokio::test]
async fn only_administrators_see_the_board_and_nobody_changes_anything() {
    let board = board(false).await;
    for path in ["/", "/api/v1/queues", "/api/v1/events", "/tasks"] {
        let get = || board.request(Method::GET, path);
        let anonymous = get().send().await.unwrap();
        let ask = anonymous.headers()["www-authenticate"].to_str().unwrap();
        assert!(ask.starts_with("Basic "), "{ask}");
        for (refused, status) in [
            (get(), StatusCode::UNAUTHORIZED),
            (get().bearer_auth("whf_0"), StatusCode::UNAUTHORIZED),
            (get().bearer_auth(&board.user), StatusCode::FORBIDDEN),
        ] {
            assert_eq!(refused.send().await.unwrap().status(), status, "{path}");
        }
        let cookie = format!("whf_session={}", board.admin);
        for admin in [
            get().bearer_auth(&board.admin),
            get().basic_auth("eve", Some(&board.admin)),
            get().header("cookie", cookie),
        ] {
            let answer = admin.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            let policy = answer.headers()["content-security-policy"].to_str();
            assert!(policy.unwrap().starts_with("default-src 'none'"));
        }
    }
    let db = database(&board.world).await;
    let before = job::Entity::find().all(&db).await.unwrap();
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let push = board.request(method.clone(), "/api/v1/queues/one/tasks");
        let push = push.bearer_auth(&board.admin).json(&json!({"job_id": 1}));
        let refused = push.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(job::Entity::find().all(&db).await.unwrap(), before);
    let unknown = board.request(Method::GET, "/api/v1/queues/two/tasks");
    let unknown = unknown.bearer_auth(&board.admin).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

/// What the page calls jobs in this state, as it counts and as it lists them.
fn called(job: &job::Model) -> (&'static str, &'static str) {
    match job.state {
        JobState::Queued | JobState::Retrying => ("PENDING_JOBS", "Pending"),
        JobState::Running => ("RUNNING_JOBS", "Running"),
        JobState::Succeeded => ("DONE_JOBS", "Done"),
        JobState::Dead if job.discarded_at.is_none() => ("KILLED_JOBS", "Killed"),
        JobState::Failed | JobState::Cancelled | JobState::Dead => ("FAILED_JOBS", "Failed"),
    }
}

async fn agrees(board: &Board) {
    let db = database(&board.world).await;
    let jobs = job::Entity::find().order_by_desc(job::Column::Id);
    let jobs = jobs.all(&db).await.unwrap();
    assert_eq!(jobs.len(), 6);
    let id = |job: &job::Model| format!("job_{}", job.id.simple());
    let all: Vec<String> = jobs.iter().map(id).collect();
    let mut counts = BTreeMap::from([("TOTAL_JOBS", all.len())]);
    let mut listed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for job in &jobs {
        let (count, list) = called(job);
        *counts.entry(count).or_default() += 1;
        listed.entry(list).or_default().push(id(job));
    }
    let queues = board.get("/queues").await;
    assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
    assert_eq!(queues[0]["name"], "one");
    let activity = queues[0]["activity"].as_array().unwrap().iter();
    let ended: u64 = activity.map(|day| day.as_u64().unwrap()).sum();
    assert_eq!(ended, 5, "{queues}");
    for stats in [
        board.get("/overview").await,
        board.get("/queues/one/stats").await,
        queues[0]["stats"].clone(),
    ] {
        for stat in stats.as_array().unwrap() {
            let title = stat["title"].as_str().unwrap();
            let expected = counts.get(title).copied().unwrap_or(0).to_string();
            assert_eq!(stat["value"], expected, "{title}");
        }
    }
    assert_eq!(listed["Killed"].len(), 2);
    let mut dead = board.dead.clone();
    dead.reverse();
    assert_eq!(listed["Killed"], dead);
    for queue in ["", "/queues/one"] {
        // As the page asks.
        let page = format!("{queue}/tasks?&page=1&page_size=15&queue=&status=");
        assert_eq!(board.tasks(&page).await, all);
        let second = format!("{queue}/tasks?page=2&page_size=4");
        assert_eq!(board.tasks(&second).await, all[4..]);
        for status in ["Pending", "Queued", "Running", "Done", "Failed", "Killed"] {
            let page = format!("{queue}/tasks?page=1&page_size=15&status={status}");
            let expected = listed.get(status).cloned().unwrap_or_default();
            assert_eq!(board.tasks(&page).await, expected, "{status}");
        }
    }
    let letter = board.get(&format!("/queues/one/tasks/{}", dead[0])).await;
    assert_eq!(letter["args"]["state"], "DEAD", "{letter}");
    assert_eq!(letter["args"]["user"], "ada", "{letter}");
    assert_eq!(letter["args"]["error"]["code"], "REGISTRY_UNAVAILABLE");
    assert_eq!(letter["args"]["attempts"].as_array().unwrap().len(), 2);
    let workers = board.get("/workers").await;
    assert_eq!(workers[0]["queue"], "one", "{workers}");
}

async fn works(board: &Board, shape: &str, signed_in: &[(&str, Value)]) {
    let mut page = Browser::open(&board.url("/"), signed_in).await;
    let dead = &board.dead[0];
    let letter = format!("/queues/one/tasks/{dead}");
    for (name, path, text) in [
        ("home", "/", "one"),
        ("queue", "/queues/one", "one"),
        ("dead", "/queues/one/Killed", dead.as_str()),
        ("letter", &letter, "REGISTRY_UNAVAILABLE"),
        ("tasks", "/tasks", "Pending"),
        ("workers", "/workers", "one"),
        ("logs", "/logs", "Logs"),
    ] {
        page.go(&board.url(path)).await;
        let shown = format!("document.body.innerText.includes({})", json!(text));
        page.until(&format!("document.readyState === 'complete' && {shown}"))
            .await;
        for (size, width, height) in [("desktop", 1280, 800), ("narrow", 480, 900)] {
            page.look(width, height, "light").await;
            page.screenshot(&format!("board-{shape}-{name}-{size}"))
                .await;
        }
    }
    page.kept_to(&[&board.url("/"), "data:"]);
}
