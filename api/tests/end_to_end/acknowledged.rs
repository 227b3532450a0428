//! kill -9 of the gateway, and of the database where it is a server, the moment after a mutation was acknowledged: what was
//! acknowledged is there when they are back. Every mutation of the schema.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::accounts::{done, mutate};
use crate::authorisation::introspect::{QUERY, Schema};
use crate::crashes::pushed;
use crate::support::books;
use crate::support::durable_server::DurableServer;
use crate::support::graphql::{Client, id};
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::world::World;

const PASSWORD: &str = "correct horse battery staple";

/// Lets jobs wait: nothing takes a registry that is not there, and no worker runs while mutations are sent.
const NOWHERE: &str = "127.0.0.1:1";

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_sqlite() {
    every_mutation_survives(World::embedded(), None).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_postgres() {
    on_a_server(Server::Postgres).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_mariadb() {
    on_a_server(Server::MariaDb).await;
}

async fn on_a_server(kind: Server) {
    let server = DurableServer::start(kind);
    let mut world = World::embedded();
    world.set("DATABASE_URL", &server.database().await);
    every_mutation_survives(world, Some(server)).await;
}

async fn every_mutation_survives(world: World, server: Option<DurableServer>) {
    let mut place = Place::new(world, server).await;
    let told = place.eve().ask(QUERY, json!({})).await;
    let schema = Schema::read(&told);
    let mut known: Vec<&str> = schema
        .fields("Mutation")
        .iter()
        .map(|field| &*field.name)
        .collect();
    let deeds = place.deeds();
    let mut done: Vec<&str> = deeds.iter().map(|deed| deed.mutation).collect();
    known.sort_unstable();
    done.sort_unstable();
    assert_eq!(
        done, known,
        "the mutations that are tried here, and those of the schema"
    );
    for deed in &deeds {
        place.do_and_crash(deed).await;
    }
    place.every_act_is_audited(&deeds).await;
    books::add_up(&place.world).await;
}

/// A mutation, and how it shows.
struct Deed {
    who: &'static str,
    mutation: &'static str,
    input: Value,
    /// A query of an administrator.
    query: String,
    /// What is in its answer afterwards and was not before, or the other way round.
    shows: Shows,
}

enum Shows {
    /// This is in the answer afterwards.
    Text(String),
    /// This is in it no more.
    NoMore(&'static str),
}

impl Deed {
    fn shows_in(&self, answer: &Value) -> bool {
        let answer = answer.to_string();
        match &self.shows {
            Shows::Text(text) => answer.contains(text.as_str()),
            Shows::NoMore(text) => !answer.contains(text),
        }
    }
}

/// An installation with something of everything, and no worker.
struct Place {
    world: World,
    server: Option<DurableServer>,
    gateway: Process,
    tokens: BTreeMap<&'static str, String>,
    ids: BTreeMap<&'static str, String>,
    /// References of images that Ada holds.
    held: [String; 3],
}

impl Place {
    async fn new(mut world: World, server: Option<DurableServer>) -> Self {
        world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "1");
        world.set("WHARFINGER_HOST__OFFLINE_AFTER", "1h");
        let user = |name: &str, more: &[&str]| world.user_with_password(name, PASSWORD, more);
        let tokens = BTreeMap::from([
            ("ada", user("ada", &["--credits", "100000"])),
            ("bob", user("bob", &[])),
            ("carol", user("carol", &[])),
            ("dave", user("dave", &[])),
            ("eve", user("eve", &["--admin"])),
        ]);
        let mut gateway = world.serve(&engine(1)).await;
        let [ada, eve] = ["ada", "eve"].map(|name| World::client(&gateway, &tokens[name]));
        let host = eve.online_host("one").await;
        let mut ids = BTreeMap::from([("host", host)]);
        let mut held = Vec::new();
        for name in ["removed", "published", "swept"] {
            let reference = pushed(&world, 1000).await;
            let job = ada.succeeded(&ada.pull(&reference).await).await;
            ids.insert(name, id(&job["image"]));
            held.push(reference);
        }
        jobs(&world, &ada, &mut ids).await;
        accounts(&ada, &eve, &mut ids).await;
        gateway.terminate();
        assert!(gateway.ended().await.success());

        let gateway = world.gateway().await;
        let ada = World::client(&gateway, &tokens["ada"]);
        ids.insert("queued", ada.pull(&format!("{NOWHERE}/queued")).await);
        Self {
            world,
            server,
            gateway,
            tokens,
            ids,
            held: held.try_into().unwrap(),
        }
    }

    fn client(&self, name: &str) -> Client {
        let token = self.tokens.get(name).map(String::as_str);
        Client::new(&self.gateway.address, token)
    }

    fn eve(&self) -> Client {
        self.client("eve")
    }

    /// Does it, kills everything, and looks once all is back.
    async fn do_and_crash(&mut self, deed: &Deed) {
        let before = self.eve().ask(&deed.query, json!({})).await;
        assert!(
            !deed.shows_in(&before),
            "{} beforehand: {before}",
            deed.mutation
        );
        let client = self.client(deed.who);
        let payload = if deed.input.is_null() {
            let document = format!(
                "mutation {{ {} {{ userErrors {{ code }} }} }}",
                deed.mutation
            );
            client.ask(&document, json!({})).await[deed.mutation].take()
        } else {
            mutate(&client, deed.mutation, deed.input.clone(), "").await
        };
        self.crash().await;
        assert_eq!(payload["userErrors"], json!([]), "{}", deed.mutation);
        let after = self.eve().ask(&deed.query, json!({})).await;
        assert!(deed.shows_in(&after), "{} is lost: {after}", deed.mutation);
    }

    async fn crash(&mut self) {
        if let Some(server) = &self.server {
            server.crash().await;
        }
        self.gateway.crash();
        if let Some(server) = &self.server {
            server.start_again();
        }
        self.gateway = self.world.gateway().await;
    }

    /// What administrators do is in the audit log, and was written with it.
    async fn every_act_is_audited(&self, deeds: &[Deed]) {
        let query = "{ auditLog(first: 100) { nodes { actor action } } }";
        let log = self.eve().ask(query, json!({})).await.to_string();
        for deed in deeds.iter().filter(|deed| deed.who == "eve") {
            let action = deed
                .mutation
                .chars()
                .fold(String::new(), |mut name, letter| {
                    if letter.is_uppercase() {
                        name.push('_');
                    }
                    name.extend(letter.to_uppercase());
                    name
                });
            let entry = format!("{{\"action\":\"{action}\",\"actor\":\"eve\"}}");
            assert!(log.contains(&entry), "no {entry} in {log}");
        }
    }

    fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    /// Every mutation, each on something of its own.
    fn deeds(&self) -> Vec<Deed> {
        let mut deeds = self.deeds_of_jobs();
        deeds.extend(self.deeds_of_accounts());
        deeds.extend(self.deeds_of_administrators());
        deeds
    }

    fn deeds_of_jobs(&self) -> Vec<Deed> {
        let job = |name: &str| format!("{{ job(id: \"{}\") {{ state }} }}", self.id(name));
        let list = "{ jobs(first: 100) { nodes { kind reference } } }".to_owned();
        let removal = |reference: &str| {
            format!("{{\"kind\":\"REMOVE_IMAGE\",\"reference\":\"{reference}\"}}")
        };
        let deed = |mutation, input, query: &str, shows: &str| Deed {
            who: "ada",
            mutation,
            input,
            query: query.to_owned(),
            shows: Shows::Text(shows.to_owned()),
        };
        let pulled = format!("{NOWHERE}/accepted:v1");
        vec![
            deed("pullImage", json!({"reference": pulled}), &list, &pulled),
            deed(
                "cancelJob",
                json!({"jobId": self.id("queued")}),
                &job("queued"),
                "CANCELLED",
            ),
            deed(
                "retryJob",
                json!({"jobId": self.id("failed")}),
                &job("failed"),
                "QUEUED",
            ),
            deed(
                "removeImage",
                json!({"imageId": self.id("removed")}),
                &list,
                &removal(&self.held[0]),
            ),
        ]
    }

    fn deeds_of_accounts(&self) -> Vec<Deed> {
        let of = |name: &str| {
            format!(
                "{{ users(filter: {{search: \"{name}\"}}) {{ nodes {{
                    name apiTokens {{ name }} registryCredentials {{ username }}
                }} }} }}"
            )
        };
        let deed = |who, mutation, input, shows| Deed {
            who,
            mutation,
            input,
            query: of(who),
            shows,
        };
        let text = |text: &str| Shows::Text(text.to_owned());
        let sign_in = json!({"name": "dave", "password": PASSWORD});
        let change = json!({"current": PASSWORD, "new": "a wharf of many colours"});
        let login = json!({"registry": NOWHERE, "username": "saved-login", "secret": "s"});
        let (token, old) = (self.id("token"), self.id("login"));
        vec![
            deed(
                "ada",
                "createApiToken",
                json!({"name": "made"}),
                text("\"made\""),
            ),
            deed(
                "ada",
                "revokeApiToken",
                json!({"apiTokenId": token}),
                Shows::NoMore("doomed"),
            ),
            deed("ada", "saveRegistryCredential", login, text("saved-login")),
            deed(
                "ada",
                "deleteRegistryCredential",
                json!({"registryCredentialId": old}),
                Shows::NoMore("old-login"),
            ),
            // It ends the other sign-ins.
            deed(
                "ada",
                "changePassword",
                change,
                Shows::NoMore("signed in from"),
            ),
            deed("dave", "signIn", sign_in, text("signed in from")),
            deed(
                "bob",
                "signOut",
                Value::Null,
                Shows::NoMore("made with the user"),
            ),
        ]
    }

    fn deeds_of_administrators(&self) -> Vec<Deed> {
        let user = |name: &str, fields: &str| {
            format!("{{ users(filter: {{search: \"{name}\"}}) {{ nodes {{ {fields} }} }} }}")
        };
        let deed = |mutation, input, query: &str, shows: &str| Deed {
            who: "eve",
            mutation,
            input,
            query: query.to_owned(),
            shows: Shows::Text(shows.to_owned()),
        };
        let job = |name: &str, field| format!("{{ job(id: \"{}\") {{ {field} }} }}", self.id(name));
        let grant = json!({"userId": self.id("carol"), "amount": "7", "reason": "kept"});
        let public = "{ images(filter: {visibility: PUBLIC}) { nodes { reference } } }";
        let publish = json!({"imageId": self.id("published"), "visibility": "PUBLIC"});
        let removals =
            "{ jobs(first: 100, filter: {kinds: [REMOVE_IMAGE]}) { nodes { reference } } }";
        let hosts = "{ hosts { nodes { schedulable } } }";
        let drain = json!({"hostId": self.id("host"), "schedulable": false});
        let discarded = Deed {
            shows: Shows::NoMore("null"),
            ..deed(
                "discardJob",
                json!({"jobId": self.id("dead")}),
                &job("dead", "discardedAt"),
                "",
            )
        };
        vec![
            deed(
                "createUser",
                json!({"name": "newcomer"}),
                &user("newcomer", "name"),
                "newcomer",
            ),
            deed(
                "grantCredits",
                grant,
                &user("carol", "balance { total }"),
                "1007",
            ),
            deed(
                "updateUser",
                json!({"userId": self.id("carol"), "status": "BANNED"}),
                &user("carol", "status"),
                "BANNED",
            ),
            discarded,
            deed(
                "retryDeadJobs",
                json!({"queue": "one"}),
                &job("redriven", "state"),
                "QUEUED",
            ),
            deed("setImageVisibility", publish, public, &self.held[1]),
            deed("sweepImages", json!({}), removals, &self.held[2]),
            deed(
                "setQueuePaused",
                json!({"queue": "one", "paused": true}),
                "{ queues { paused } }",
                "true",
            ),
            deed("setHostSchedulable", drain, hosts, "false"),
        ]
    }
}

/// Jobs that ended in every way that a mutation goes on from.
async fn jobs(world: &World, ada: &Client, ids: &mut BTreeMap<&'static str, String>) {
    let missing = format!("{}/nothing-is-here:v1", world.registry.address);
    for (name, reference, state) in [
        ("failed", missing.as_str(), "FAILED"),
        ("dead", "127.0.0.1:1/dead:v1", "DEAD"),
        ("redriven", "127.0.0.1:1/redriven:v1", "DEAD"),
    ] {
        let job = ada.pull(reference).await;
        assert_eq!(ada.ended(&job).await["state"], state);
        ids.insert(name, job);
    }
}

/// What a user has, to be taken away.
async fn accounts(ada: &Client, eve: &Client, ids: &mut BTreeMap<&'static str, String>) {
    let token = done(
        ada,
        "createApiToken",
        json!({"name": "doomed"}),
        "apiToken { id }",
    )
    .await;
    ids.insert("token", id(&token["apiToken"]));
    let input = json!({"registry": "127.0.0.1:2", "username": "old-login", "secret": "s"});
    let login = done(
        ada,
        "saveRegistryCredential",
        input,
        "registryCredential { id }",
    )
    .await;
    ids.insert("login", id(&login["registryCredential"]));
    let nobody = Client::new(&ada.address, None);
    let input = json!({"name": "ada", "password": PASSWORD});
    done(&nobody, "signIn", input, "token").await;
    let carol = "{ users(filter: {search: \"carol\"}) { nodes { id } } }";
    let carol = eve.ask(carol, json!({})).await;
    ids.insert("carol", id(&carol["users"]["nodes"][0]));
}
