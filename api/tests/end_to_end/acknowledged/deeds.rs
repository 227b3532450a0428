//! Every mutation, each on something of its own, and how it shows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::place::{NOWHERE, PASSWORD, Place};
use crate::introspect::{Field, Schema};

const JOBS: &str = "{ jobs(first: 100) { nodes { kind reference } } }";

/// A mutation, and how it shows: a row of the table below.
#[derive(Deserialize)]
pub(super) struct Deed {
    pub(super) who: String,
    pub(super) mutation: String,
    /// Null for one without an input.
    pub(super) input: Value,
    /// A query of an administrator.
    pub(super) query: String,
    /// A text that is in its answer afterwards and was not before; after `no ` the other way round.
    shows: String,
}

impl Deed {
    pub(super) fn shows_in(&self, answer: &Value) -> bool {
        let answer = answer.to_string();
        match self.shows.strip_prefix("no ") {
            None => answer.contains(&self.shows),
            Some(text) => !answer.contains(text),
        }
    }
}

impl Place {
    /// Every mutation, each on something of its own.
    pub(super) fn deeds(&self, schema: &Schema) -> Vec<Deed> {
        let id = |name: &str| self.id(name);
        let job = |name: &str| {
            let id = id(name);
            format!("{{ job(id: \"{id}\") {{ state discardedAt }} }}")
        };
        let user = |name: &str| {
            let fields =
                "name status balance { total } apiTokens { name } registryCredentials { username }";
            format!("{{ users(filter: {{search: \"{name}\"}}) {{ nodes {{ {fields} }} }} }}")
        };
        let hosts = "{ hosts { nodes { schedulable } } }";
        let public = "{ images(filter: {visibility: PUBLIC}) { nodes { reference } } }";
        let published = &self.held["published"];
        let swept = listed("removeImage", &self.held["swept"]);
        let login = json!({"registry": NOWHERE, "username": "saved-login", "secret": "s"});
        let new_password = json!({"current": PASSWORD, "new": "a wharf of many colours"});
        let grant = json!({"userId": id("carol"), "amount": "7", "reason": "kept"});
        let deeds = json!([
            ["ada", "cancelJob", {"jobId": id("queued")}, job("queued"), "CANCELLED"],
            ["ada", "retryJob", {"jobId": id("failed")}, job("failed"), "QUEUED"],
            ["ada", "createApiToken", {"name": "made"}, user("ada"), "\"made\""],
            ["ada", "revokeApiToken", {"apiTokenId": id("token")}, user("ada"), "no doomed"],
            ["ada", "saveRegistryCredential", login, user("ada"), "saved-login"],
            ["ada", "deleteRegistryCredential", {"registryCredentialId": id("login")}, user("ada"), "no old-login"],
            // It ends the other sign-ins.
            ["ada", "changePassword", new_password, user("ada"), "no signed in from"],
            ["dave", "signIn", {"name": "dave", "password": PASSWORD}, user("dave"), "signed in from"],
            ["bob", "signOut", null, user("bob"), "no made with the user"],
            ["eve", "createUser", {"name": "newcomer"}, user("newcomer"), "newcomer"],
            ["eve", "grantCredits", grant, user("carol"), "1007"],
            ["eve", "updateUser", {"userId": id("carol"), "status": "BANNED"}, user("carol"), "BANNED"],
            ["eve", "discardJob", {"jobId": id("dead")}, job("dead"), "no null"],
            ["eve", "retryDeadJobs", {"queue": "one"}, job("redriven"), "QUEUED"],
            ["eve", "setImageVisibility", {"imageId": id("published"), "visibility": "PUBLIC"}, public, published],
            ["eve", "sweepImages", {}, JOBS, swept],
            ["eve", "setQueuePaused", {"queue": "one", "paused": true}, "{ queues { paused } }", "true"],
            ["eve", "setHostSchedulable", {"hostId": id("host"), "schedulable": false}, hosts, "false"],
        ]);
        let mut deeds: Vec<Deed> = serde_json::from_value(deeds).unwrap();
        // What else answers a job makes one.
        for field in schema.fields("Mutation") {
            let payload = schema.fields(field.named());
            let answers_job = payload.iter().any(|field| field.name == "job");
            if answers_job && deeds.iter().all(|deed| deed.mutation != field.name) {
                deeds.insert(0, self.request(schema, field));
            }
        }
        deeds
    }

    /// A request for a job about an image.
    fn request(&self, schema: &Schema, field: &Field) -> Deed {
        let input = field.named().replace("Payload", "Input");
        let mut inputs = schema.0[&input].input_fields.iter().flatten();
        let (input, reference) = if inputs.any(|field| field.name == "imageId") {
            // A removal would be in the way of the others.
            let removes = field.name == "removeImage";
            let image = if removes { "removed" } else { "kept" };
            (json!({"imageId": self.id(image)}), self.held[image].clone())
        } else {
            let reference = format!("{NOWHERE}/accepted:v1");
            (json!({"reference": reference}), reference)
        };
        Deed {
            who: "ada".to_owned(),
            mutation: field.name.clone(),
            input,
            query: JOBS.to_owned(),
            shows: listed(&field.name, &reference),
        }
    }
}

/// A job of the kind that is called like a mutation, in the answer to [`JOBS`].
fn listed(mutation: &str, reference: &str) -> String {
    let kind = word(mutation);
    format!("{{\"kind\":\"{kind}\",\"reference\":\"{reference}\"}}")
}

/// The contract's word that is called like a mutation: a kind of job, or an act of an administrator.
pub(super) fn word(mutation: &str) -> String {
    let mut word = String::new();
    for letter in mutation.chars() {
        if letter.is_uppercase() {
            word.push('_');
        }
        word.extend(letter.to_uppercase());
    }
    word
}
