//! What there is to see and to do: Ada's things of every kind, and everybody who asks for them.

use std::collections::BTreeMap;

use serde_json::json;
use wharfinger_entity::Role;
use wharfinger_jobs::testing::image::{TestImage, layer};
use wharfinger_jobs::testing::registry::TestRegistry;

use super::CALLERS;
use crate::graphql_tests::client::{Client, PASSWORD, done, id};
use crate::graphql_tests::gateway::{Gateway, Store};
use crate::graphql_tests::servers::{engine, unique_name};

/// In every name of Ada's: nobody else may ever read it.
pub(super) const MARK: &str = "canary";

/// Ada's at a registry.
const LOGIN: &str = "registry-hunter2";

/// A gateway with everything in it, and no worker that would change it.
pub(super) struct Place {
    gateway: Gateway,
    tokens: BTreeMap<&'static str, String>,
    pub(super) ids: Ids,
}

/// Ids of Ada's things, and of what is everybody's.
#[derive(Clone, Default)]
pub(super) struct Ids {
    /// By what it is: the argument that takes it, less `Id`.
    by_kind: BTreeMap<&'static str, String>,
    /// Those that only Ada and administrators may see.
    pub(super) private: Vec<String>,
}

impl Place {
    pub(super) async fn on(store: Store) -> Self {
        let settings = [
            ("DOCKER_HOST", &*engine(1)),
            ("WHARFINGER_RETRY__MAX_ATTEMPTS", "1"),
            ("WHARFINGER_HOST__OFFLINE_AFTER", "1h"),
            ("WHARFINGER_WORKER__LABELS", "room=b12"),
            // All of Ada's things are asked for at once.
            ("WHARFINGER_LIMITS__COMPLEXITY", "0"),
        ];
        let gateway = Gateway::with(store, &settings).await;
        let mut tokens = BTreeMap::new();
        for (caller, name, role) in [
            ("banned", "carol", Role::User),
            ("other", "bob", Role::User),
            ("owner", &*format!("ada-{MARK}"), Role::User),
            ("administrator", "eve", Role::Admin),
        ] {
            let made = gateway.make(name, role, "100000", Some(PASSWORD)).await;
            tokens.insert(caller, made.token.unwrap());
        }
        // Whom everybody knows the password of.
        gateway
            .make("dave", Role::User, "1000", Some(PASSWORD))
            .await;
        let mut place = Self {
            gateway,
            tokens,
            ids: Ids::default(),
        };
        let (ada, eve) = (place.client("owner"), place.client("administrator"));
        let mut by_kind = place.gateway.working(things(&ada, &eve)).await;

        // Nothing happens from here on but what is asked for.
        let queued = ada.pull(&format!("127.0.0.1:1/{MARK}-queued")).await;
        by_kind.insert("queued", queued);
        let entry = "{ auditLog(first: 1) { nodes { id } } }";
        let entry = eve.ask(entry, json!({})).await;
        by_kind.insert("entry", id(&entry["auditLog"]["nodes"][0]));
        let private = by_kind.iter().filter(|(kind, _)| **kind != "host");
        let private = private.map(|(_, id)| id.clone()).collect();
        place.ids = Ids { by_kind, private };
        place
    }

    /// A client of one of [`CALLERS`].
    pub(super) fn client(&self, caller: &str) -> Client {
        assert!(CALLERS.contains(&caller));
        let token = self.tokens.get(caller).map(String::as_str);
        self.gateway.anonymous().with_token(token)
    }

    /// What no answer has in it: tokens, passwords and logins, and how a password is stored.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.values().map(String::as_str);
        tokens.chain([PASSWORD, LOGIN, "$argon2"])
    }

    /// One more of the same on SQLite, with a life of its own from here on.
    pub(super) async fn copy(&self) -> Self {
        Self {
            gateway: self.gateway.copy().await,
            tokens: self.tokens.clone(),
            ids: self.ids.clone(),
        }
    }
}

/// Makes everything that takes a worker, and returns the ids.
async fn things(ada: &Client, eve: &Client) -> BTreeMap<&'static str, String> {
    let registry = TestRegistry::open();
    let host = eve.online_host("one").await;
    let name = format!("{MARK}-{}", unique_name());
    let image = TestImage::new(vec![layer("content", name.as_bytes())]);
    registry.push(&name, "v1", &image).await;
    let address = &registry.address;
    let job = ada.pull(&format!("{address}/{name}:v1")).await;
    let image = id(&ada.succeeded(&job).await["image"]);
    let failed = ada.pull(&format!("{address}/{name}:missing")).await;
    assert_eq!(ada.ended(&failed).await["state"], "FAILED");
    let dead = ada.pull(&format!("127.0.0.1:1/{name}:v1")).await;
    assert_eq!(ada.ended(&dead).await["state"], "DEAD");

    let user = ada.viewer_id().await;
    let token = json!({"name": format!("{MARK} token")});
    let token = done(ada, "createApiToken", token, "apiToken { id }").await;
    let login =
        json!({"registry": "127.0.0.1:1", "username": format!("{MARK}-login"), "secret": LOGIN});
    let fields = "registryCredential { id }";
    let login = done(ada, "saveRegistryCredential", login, fields).await;
    let grant = json!({"userId": user, "amount": "1", "reason": MARK});
    let granted = done(eve, "grantCredits", grant, "ledgerEntry { id }").await;
    let carol = "{ users(filter: {search: \"carol\"}) { nodes { id } } }";
    let carol = eve.ask(carol, json!({})).await;
    eve.ban(&id(&carol["users"]["nodes"][0])).await;
    BTreeMap::from([
        ("host", host),
        ("image", image),
        ("job", job),
        ("failed", failed),
        ("dead", dead),
        ("user", user),
        ("apiToken", id(&token["apiToken"])),
        ("registryCredential", id(&login["registryCredential"])),
        ("ledgerEntry", id(&granted["ledgerEntry"])),
    ])
}

impl Ids {
    /// What to write for an argument of a type, by its coordinate: ids of Ada's things, and otherwise what is good for the
    /// caller.
    pub(super) fn value(&self, coordinate: &str, of: &str) -> String {
        let argument = coordinate.rsplit('.').next().unwrap_or_default();
        if of == "ID" {
            let ids = self.id(coordinate, argument);
            return ids.unwrap_or_else(|| panic!("say here what {coordinate} names"));
        }
        let text = match (of, argument) {
            ("Boolean", _) => return "true".to_owned(),
            ("Int", _) => return "1".to_owned(),
            ("Credits", _) => "1",
            ("String", "name") if coordinate.contains("signIn") => "dave",
            ("String", "password" | "current") => PASSWORD,
            ("String", "new") => "a wharf of many colours",
            ("String", "reference") => "127.0.0.1:1/own:v1",
            ("String", "registry") => "127.0.0.1:2",
            ("String", "queue") => "one",
            ("String", "name" | "reason" | "username" | "secret") => "newcomer",
            _ => panic!("say here what {coordinate} takes"),
        };
        format!("\"{text}\"")
    }

    fn id(&self, coordinate: &str, argument: &str) -> Option<String> {
        let kind = match (coordinate, argument) {
            ("Query.nodes.ids", _) => return Some(self.list()),
            ("Query.image.id", _) => "image",
            ("Query.job.id" | "Query.node.id", _) => "job",
            ("Mutation.cancelJob.input.jobId", _) => "queued",
            ("Mutation.retryJob.input.jobId", _) => "failed",
            ("Mutation.discardJob.input.jobId", _) => "dead",
            (_, "actorId" | "subjectId") => "user",
            (_, "hostIds") => "host",
            (_, argument) => argument.strip_suffix("Id")?,
        };
        self.by_kind.get(kind).map(|id| format!("\"{id}\""))
    }

    /// All of them, as a list.
    pub(super) fn list(&self) -> String {
        let ids = self.by_kind.values().map(|id| format!("\"{id}\""));
        format!("[{}]", ids.collect::<Vec<_>>().join(", "))
    }

    /// The same document with ids of nothing for those of Ada's; none where it has none of hers.
    pub(super) fn of_nothing(&self, document: &str) -> Option<String> {
        let nothing = self.private.iter().fold(document.to_owned(), |text, id| {
            let (kind, _) = id.split_once('_').unwrap();
            text.replace(id, &format!("{kind}_0123456789abcdef0123456789abcdef"))
        });
        (nothing != document).then_some(nothing)
    }
}
