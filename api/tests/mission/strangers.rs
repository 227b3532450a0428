//! What nobody may see of others: every id that there is, asked for by those it is not for.

use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use uuid::Uuid;
use wharfinger_entity::{
    api_token, audit_entry, host, image, job, ledger_entry, registry_credential, user,
};
use wharfinger_jobs::infra::db::Db;

use crate::people::Person;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// Ids that one query may ask for.
const AT_ONCE: usize = 100;

/// Something that has an id.
struct Thing {
    kind: &'static str,
    id: String,
    whose: Whose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Everyones,
    Administrators,
    Users(Uuid),
}

impl Thing {
    fn new(kind: &'static str, id: Uuid, whose: Whose) -> Self {
        Self {
            kind,
            id: named(kind, id),
            whose,
        }
    }

    fn is_for(&self, user: Uuid) -> bool {
        self.whose == Whose::Everyones || self.whose == Whose::Users(user)
    }
}

/// An id as clients know it.
fn named(kind: &str, id: Uuid) -> String {
    format!("{kind}_{}", id.simple())
}

/// Everything that the database has.
async fn things(db: &Db) -> Vec<Thing> {
    use Whose::{Administrators, Everyones, Users};
    macro_rules! all {
        ($entity:ident, $kind:literal, $whose:expr) => {{
            let rows = $entity::Entity::find().all(db.read()).await.unwrap();
            assert!(!rows.is_empty(), "there is no {}", $kind);
            let thing = |row: $entity::Model| Thing::new($kind, row.id, $whose(&row));
            rows.into_iter().map(thing).collect::<Vec<_>>()
        }};
    }
    [
        all!(user, "user", |row: &user::Model| Users(row.id)),
        all!(job, "job", |row: &job::Model| Users(row.user_id)),
        all!(image, "image", |row: &image::Model| row
            .user_id
            .map_or(Everyones, Users)),
        all!(host, "host", |_: &host::Model| Everyones),
        all!(ledger_entry, "entry", |row: &ledger_entry::Model| Users(
            row.user_id
        )),
        all!(audit_entry, "audit", |_: &audit_entry::Model| {
            Administrators
        }),
        all!(
            registry_credential,
            "login",
            |row: &registry_credential::Model| Users(row.user_id)
        ),
        all!(api_token, "token", |row: &api_token::Model| Users(
            row.user_id
        )),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Each of them sees what is theirs and everyone's, and is answered about the rest as about what there never was.
pub(crate) async fn see_nothing(world: &World, users: &[(&Person, &str)]) {
    let db = Db::connect(&world.database_url()).await.unwrap();
    let things = things(&db).await;
    for (person, id) in users {
        let user = Uuid::parse_str(id.strip_prefix("user_").unwrap()).unwrap();
        for some in things.chunks(AT_ONCE) {
            let ids: Vec<&str> = some.iter().map(|thing| thing.id.as_str()).collect();
            let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
            let answer = person.client.ask(nodes, json!({"ids": ids})).await;
            let nodes = answer["nodes"].as_array().unwrap();
            for (thing, node) in some.iter().zip(nodes) {
                let expected = if thing.is_for(user) {
                    json!({"id": thing.id})
                } else {
                    Value::Null
                };
                assert_eq!(*node, expected, "{} asked for {}", id, thing.id);
            }
        }
        lists_hold_only_what_is_theirs(person, &things, user).await;
        for thing in things.iter().filter(|thing| !thing.is_for(user)) {
            is_unknown(person, thing).await;
            changes_nothing(person, thing).await;
        }
    }
}

/// Every list that a user may read, history included.
async fn lists_hold_only_what_is_theirs(person: &Person, things: &[Thing], user: Uuid) {
    let lists = "{ viewer { ledger(first: 100) { nodes { id } } apiTokens { id } registryCredentials { id } }
        images(first: 100, filter: {states: [HELD, RELEASED, LOST]}) { nodes { id } }
        jobs(first: 100) { nodes { id } }
        hosts(first: 100) { nodes { id } } }";
    let answer = person.client.ask(lists, json!({})).await;
    let viewer = &answer["viewer"];
    for (list, kind) in [
        (&viewer["ledger"]["nodes"], "entry"),
        (&viewer["apiTokens"], "token"),
        (&viewer["registryCredentials"], "login"),
        (&answer["images"]["nodes"], "image"),
        (&answer["jobs"]["nodes"], "job"),
        (&answer["hosts"]["nodes"], "host"),
    ] {
        let mut listed: Vec<&str> = list
            .as_array()
            .unwrap_or_else(|| panic!("{kind}: {answer}"))
            .iter()
            .map(|node| node["id"].as_str().unwrap())
            .collect();
        let of_user = things
            .iter()
            .filter(|thing| thing.kind == kind && thing.is_for(user));
        let mut own: Vec<&str> = of_user.map(|thing| thing.id.as_str()).collect();
        if kind == "token" {
            // Those of sign-ins are not listed.
            own.retain(|token| listed.contains(token));
        }
        listed.sort_unstable();
        own.sort_unstable();
        assert_eq!(listed, own, "{kind}");
    }
}

/// Whoever asks for it by its id, or wants to watch it, is told what they would be told of an id that nobody has.
async fn is_unknown(person: &Person, thing: &Thing) {
    let field = match thing.kind {
        "job" | "image" => thing.kind,
        _ => return,
    };
    let unknown = named(thing.kind, Uuid::now_v7());
    for id in [&thing.id, &unknown] {
        let query = format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}");
        let answer = person.client.ask(&query, json!({"id": id})).await;
        assert_eq!(answer[field], Value::Null, "{id}");
    }
    if thing.kind == "job" {
        let watched = async |id: &str| {
            let mut progress = Subscription::progress(&person.client, id).await;
            progress.refusal().await
        };
        assert_eq!(watched(&thing.id).await, watched(&unknown).await);
    }
}

/// Whoever names it in a mutation is told what they would be told of an id that nobody has.
async fn changes_nothing(person: &Person, thing: &Thing) {
    let mutations: &[(&str, &str)] = match thing.kind {
        "job" => &[("cancelJob", "jobId"), ("retryJob", "jobId")],
        "image" => &[("removeImage", "imageId")],
        "login" => &[("deleteRegistryCredential", "registryCredentialId")],
        "token" => &[("revokeApiToken", "apiTokenId")],
        _ => &[],
    };
    for (mutation, field) in mutations {
        let asked = async |id: &str| {
            let query = format!(
                "mutation {{ {mutation}(input: {{{field}: \"{id}\"}}) {{ userErrors {{ code message field }} }} }}"
            );
            person.client.ask(&query, json!({})).await[mutation]["userErrors"].take()
        };
        let unknown = asked(&named(thing.kind, Uuid::now_v7())).await;
        assert_ne!(unknown, json!([]), "{mutation}");
        assert_eq!(asked(&thing.id).await, unknown, "{mutation} {}", thing.id);
    }
}
