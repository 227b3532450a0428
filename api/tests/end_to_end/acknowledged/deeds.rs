//! Every mutation, each on something of its own, and how it shows.

use serde_json::{Value, json};

use super::place::{NOWHERE, PASSWORD, Place};

/// A mutation, and how it shows.
pub(super) struct Deed {
    pub(super) who: &'static str,
    pub(super) mutation: &'static str,
    pub(super) input: Value,
    /// A query of an administrator.
    pub(super) query: String,
    /// What is in its answer afterwards and was not before, or the other way round.
    shows: Shows,
}

pub(super) enum Shows {
    /// This is in the answer afterwards.
    Text(String),
    /// This is in it no more.
    NoMore(&'static str),
}

impl Deed {
    pub(super) fn shows_in(&self, answer: &Value) -> bool {
        let answer = answer.to_string();
        match &self.shows {
            Shows::Text(text) => answer.contains(text.as_str()),
            Shows::NoMore(text) => !answer.contains(text),
        }
    }
}

impl Place {
    /// Every mutation, each on something of its own.
    pub(super) fn deeds(&self) -> Vec<Deed> {
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
