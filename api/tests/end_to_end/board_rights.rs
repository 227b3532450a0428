//! What is open on the board ends with the right to look, on whichever gateway it is taken away.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::graphql::{Client, done, id};
use crate::support::servers::Server;
use crate::support::world::World;
use crate::support::{soon, until};

/// A board with a stream of it that a token opened.
struct Looking<'a> {
    board: &'a str,
    token: &'a str,
    stream: Response,
}

async fn events(board: &str, token: &str) -> Response {
    let url = format!("http://{board}/api/v1/events");
    let request = reqwest::Client::new().get(url).bearer_auth(token);
    request.send().await.unwrap()
}

impl<'a> Looking<'a> {
    async fn on(board: &'a str, token: &'a str) -> Self {
        let stream = events(board, token).await;
        assert_eq!(stream.status(), StatusCode::OK);
        Self {
            board,
            token,
            stream,
        }
    }

    /// Waits for a line about this job.
    async fn sees(&mut self, job: &str) {
        let mut seen = String::new();
        soon("a line about a job", async {
            while !seen.contains(job) {
                let more = self.stream.chunk().await.unwrap().expect("an open stream");
                seen.push_str(std::str::from_utf8(&more).unwrap());
            }
        })
        .await;
    }

    /// Waits until the stream has ended, and is not to be had again.
    async fn ends(mut self, why: StatusCode) {
        soon("a stream's end", async {
            while self.stream.chunk().await.unwrap().is_some() {}
        })
        .await;
        assert_eq!(events(self.board, self.token).await.status(), why);
    }
}

/// The id of the only token of a client's user.
async fn token_id(client: &Client) -> String {
    let tokens = "{ viewer { apiTokens { id } } }";
    let tokens = client.ask(tokens, json!({})).await;
    id(&tokens["viewer"]["apiTokens"][0])
}

#[tokio::test]
async fn a_stream_of_the_board_ends_with_the_right_to_it_on_every_gateway() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let admins = ["root", "revoked", "demoted", "banned"];
    let tokens = admins.map(|name| world.user(name, &["--admin"]));
    let (one, two) = (world.gateway().await, world.gateway().await);
    let _worker = world.worker().await;
    let boards = [
        one.announced("the board listens on http://").await,
        two.announced("the board listens on http://").await,
    ];
    let [root, revoked, demoted, banned] = [0, 1, 2, 3].map(|n| one.client(&tokens[n]));
    root.online_host("one").await;
    let mut kept = Vec::new();
    let mut open = [Vec::new(), Vec::new(), Vec::new()];
    for board in &boards {
        kept.push(Looking::on(board, &tokens[0]).await);
        for (n, open) in open.iter_mut().enumerate() {
            open.push(Looking::on(board, &tokens[n + 1]).await);
        }
    }
    let [of_revoked, of_demoted, of_banned] = open;

    let token = json!({"apiTokenId": token_id(&revoked).await});
    done(&root, "revokeApiToken", token, "").await;
    for looking in of_revoked {
        looking.ends(StatusCode::UNAUTHORIZED).await;
    }
    let input = json!({"userId": demoted.viewer_id().await, "role": "USER"});
    done(&root, "updateUser", input, "").await;
    for looking in of_demoted {
        looking.ends(StatusCode::FORBIDDEN).await;
    }
    root.ban(&banned.viewer_id().await).await;
    for looking in of_banned {
        looking.ends(StatusCode::UNAUTHORIZED).await;
    }
    // Nobody else's ended.
    let job = root.pull("127.0.0.1:9/nothing/there:1").await;
    for looking in &mut kept {
        looking.sees(&job).await;
    }
}

#[tokio::test]
async fn the_board_notes_that_a_token_was_used() {
    let mut world = World::embedded();
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let [root, looks] = ["root", "looks"].map(|name| world.user(name, &["--admin"]));
    let gateway = world.gateway().await;
    let board = gateway.announced("the board listens on http://").await;
    let root = gateway.client(&root);
    let last_used = async || {
        let asked = "{ users(filter: {search: \"looks\"}) { nodes { apiTokens { lastUsedAt } } } }";
        let mut users = root.ask(asked, json!({})).await["users"].take();
        users["nodes"][0]["apiTokens"][0]["lastUsedAt"].take()
    };
    assert_eq!(last_used().await, Value::Null);
    assert_eq!(events(&board, &looks).await.status(), StatusCode::OK);
    until("the use of the token is noted", async || {
        (last_used().await != Value::Null).then_some(())
    })
    .await;
}
