//! An installation, and how everything of it is killed.

use std::collections::BTreeMap;

use serde_json::json;

use super::deeds::{Deed, word};
pub(super) use crate::support::graphql::PASSWORD;
use crate::support::graphql::{Client, done, id, mutate};
use crate::support::images::pushed;
use crate::support::own_server::DurableServer;
use crate::support::process::Process;
use crate::support::world::World;

/// A registry that is not there.
pub(super) const NOWHERE: &str = "127.0.0.1:1";

/// An installation with something of everything, and no worker.
pub(super) struct Place {
    pub(super) world: World,
    server: Option<DurableServer>,
    gateway: Process,
    tokens: BTreeMap<&'static str, String>,
    ids: BTreeMap<&'static str, String>,
    /// References of images that Ada holds.
    pub(super) held: BTreeMap<&'static str, String>,
}

impl Place {
    pub(super) async fn new(mut world: World, server: Option<DurableServer>) -> Self {
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
        let mut gateway = world.serve().await;
        let [ada, eve] = ["ada", "eve"].map(|name| gateway.client(&tokens[name]));
        let host = eve.online_host("one").await;
        let mut ids = BTreeMap::from([("host", host)]);
        let mut held = BTreeMap::new();
        for name in ["kept", "removed", "published", "swept"] {
            let reference = pushed(&world, 1000).await;
            let job = ada.succeeded(&ada.pull(&reference).await).await;
            ids.insert(name, id(&job["image"]));
            held.insert(name, reference);
        }
        jobs(&world, &ada, &mut ids).await;
        accounts(&ada, &eve, &mut ids).await;
        gateway.stop().await;

        let gateway = world.gateway().await;
        let ada = gateway.client(&tokens["ada"]);
        ids.insert("queued", ada.pull(&format!("{NOWHERE}/queued")).await);
        Self {
            world,
            server,
            gateway,
            tokens,
            ids,
            held,
        }
    }

    fn client(&self, name: &str) -> Client {
        let token = self.tokens.get(name).map(String::as_str);
        Client::new(&self.gateway.address, token)
    }

    pub(super) fn eve(&self) -> Client {
        self.client("eve")
    }

    /// Does it, kills everything, and looks once all is back.
    pub(super) async fn do_and_crash(&mut self, deed: &Deed) {
        let before = self.eve().ask(&deed.query, json!({})).await;
        let mutation = &*deed.mutation;
        assert!(!deed.shows_in(&before), "{mutation} beforehand: {before}");
        let client = self.client(&deed.who);
        let payload = if deed.input.is_null() {
            let document = format!("mutation {{ {mutation} {{ userErrors {{ code }} }} }}");
            client.ask(&document, json!({})).await[mutation].take()
        } else {
            mutate(&client, mutation, deed.input.clone(), "").await
        };
        self.crash().await;
        assert_eq!(payload["userErrors"], json!([]), "{mutation}");
        let after = self.eve().ask(&deed.query, json!({})).await;
        assert!(deed.shows_in(&after), "{mutation} is lost: {after}");
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
    pub(super) async fn every_act_is_audited(&self, deeds: &[Deed]) {
        let query = "{ auditLog(first: 100) { nodes { actor action } } }";
        let log = self.eve().ask(query, json!({})).await.to_string();
        for deed in deeds.iter().filter(|deed| deed.who == "eve") {
            let action = word(&deed.mutation);
            let entry = format!("{{\"action\":\"{action}\",\"actor\":\"eve\"}}");
            assert!(log.contains(&entry), "no {entry} in {log}");
        }
    }

    pub(super) fn id(&self, name: &str) -> &str {
        &self.ids[name]
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
    let doomed = json!({"name": "doomed"});
    let token = done(ada, "createApiToken", doomed, "apiToken { id }").await;
    ids.insert("token", id(&token["apiToken"]));
    let login = json!({"registry": "127.0.0.1:2", "username": "old-login", "secret": "s"});
    let fields = "registryCredential { id }";
    let login = done(ada, "saveRegistryCredential", login, fields).await;
    ids.insert("login", id(&login["registryCredential"]));
    ada.with_token(None).sign_in("ada", PASSWORD).await;
    let carol = "{ users(filter: {search: \"carol\"}) { nodes { id } } }";
    let carol = eve.ask(carol, json!({})).await;
    ids.insert("carol", id(&carol["users"]["nodes"][0]));
}
