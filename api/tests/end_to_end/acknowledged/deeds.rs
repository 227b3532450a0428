//! Every mutation, each on something of its own, and how it shows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::place::{NOWHERE, PASSWORD, Place};

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
    pub(super) fn deeds(&self) -> Vec<Deed> {
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
        let removal = |reference: &str| format!("\"REMOVE_IMAGE\",\"reference\":\"{reference}\"");
        let jobs = "{ jobs(first: 100) { nodes { kind reference } } }";
        let hosts = "{ hosts { nodes { schedulable } } }";
        let public = "{ images(filter: {visibility: PUBLIC}) { nodes { reference } } }";
        let pulled = format!("{NOWHERE}/accepted:v1");
        let [removed, published, swept] = &self.held;
        let login = json!({"registry": NOWHERE, "username": "saved-login", "secret": "s"});
        let new_password = json!({"current": PASSWORD, "new": "a wharf of many colours"});
        let grant = json!({"userId": id("carol"), "amount": "7", "reason": "kept"});
        let deeds = json!([
            ["ada", "pullImage", {"reference": pulled}, jobs, pulled],
            ["ada", "cancelJob", {"jobId": id("queued")}, job("queued"), "CANCELLED"],
            ["ada", "retryJob", {"jobId": id("failed")}, job("failed"), "QUEUED"],
            ["ada", "removeImage", {"imageId": id("removed")}, jobs, removal(removed)],
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
            ["eve", "sweepImages", {}, jobs, removal(swept)],
            ["eve", "setQueuePaused", {"queue": "one", "paused": true}, "{ queues { paused } }", "true"],
            ["eve", "setHostSchedulable", {"hostId": id("host"), "schedulable": false}, hosts, "false"],
        ]);
        serde_json::from_value(deeds).unwrap()
    }
}
