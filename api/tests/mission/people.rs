//! Those who use Wharfinger, and what they ask it for.

use serde_json::{Value, json};

use crate::support::graphql::{Client, id};
use crate::support::process::Process;
use crate::support::until;

/// A subscription to one's credits.
pub(crate) const BALANCE: &str = "subscription { balanceChanged { available held total } }";

/// What a pull fetched and what was there.
pub(crate) const REUSED: &str =
    "query($id: ID!) { job(id: $id) { progress { downloaded reused } } }";

/// Somebody with a token, or without.
pub(crate) struct Person {
    pub(crate) client: Client,
}

const SIGN_IN: &str = "mutation($input: SignInInput!) {
    signIn(input: $input) { token user { name } userErrors { code message } }
}";

/// The code of the error that an operation is refused with.
pub(crate) async fn refused(person: &Person, query: &str) -> String {
    let (_, answer) = person.client.send(query, json!({})).await;
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Signing in fails, and does not say why.
pub(crate) async fn cannot_sign_in(gateway: &Process, name: &str, password: &str) {
    let input = json!({"input": {"name": name, "password": password}});
    let answer = Client::new(&gateway.address, None)
        .ask(SIGN_IN, input)
        .await;
    let payload = &answer["signIn"];
    assert_eq!(payload["token"], Value::Null, "{payload}");
    assert_eq!(payload["userErrors"][0]["code"], "INVALID_CREDENTIALS");
}

/// `setImageVisibility` as a text of its own.
pub(crate) fn publish(image: &Value, visibility: &str) -> String {
    format!(
        "mutation {{ setImageVisibility(input: {{imageId: {image}, visibility: {visibility}}}) {{
            image {{ id visibility charge }} userErrors {{ code message }}
        }} }}"
    )
}

impl Person {
    pub(crate) fn with_token(gateway: &Process, token: &str) -> Self {
        Self {
            client: Client::new(&gateway.address, Some(token)),
        }
    }

    /// Speaks to this gateway from now on.
    pub(crate) fn turns_to(&mut self, gateway: &Process) {
        gateway.address.clone_into(&mut self.client.address);
    }

    pub(crate) fn nobody(gateway: &Process) -> Self {
        Self {
            client: Client::new(&gateway.address, None),
        }
    }

    pub(crate) async fn sign_in(gateway: &Process, name: &str, password: &str) -> Self {
        let input = json!({"input": {"name": name, "password": password}});
        let answer = Client::new(&gateway.address, None)
            .ask(SIGN_IN, input)
            .await;
        let payload = &answer["signIn"];
        assert_eq!(payload["userErrors"], json!([]));
        assert_eq!(payload["user"]["name"], name);
        Self::with_token(gateway, payload["token"].as_str().unwrap())
    }

    /// The id of an image that arrived, with its job's.
    pub(crate) async fn pulled(&self, host: &str, reference: &str) -> String {
        let job = self.client.pull_onto(host, reference).await;
        self.client.succeeded(&job).await;
        job
    }

    /// The image of a job.
    pub(crate) async fn image_of(&self, job: &str) -> Value {
        let query =
            "query($id: ID!) { job(id: $id) { image { id imageId charge visibility state } } }";
        self.client.ask(query, json!({"id": job})).await["job"]["image"].take()
    }

    /// Lets go of an image, and waits until it is done.
    pub(crate) async fn removes(&self, image: &Value) {
        let payload = self.client.remove(image.as_str().unwrap()).await;
        assert_eq!(payload["userErrors"], json!([]));
        self.client.succeeded(&id(&payload["job"])).await;
    }

    pub(crate) async fn saves_login(&self, registry: &str, username: &str, secret: &str) {
        let query = "mutation($input: SaveRegistryCredentialInput!) {
            saveRegistryCredential(input: $input) { userErrors { code message } }
        }";
        let input = json!({"registry": registry, "username": username, "secret": secret});
        let answer = self.client.ask(query, json!({"input": input})).await;
        let errors = &answer["saveRegistryCredential"]["userErrors"];
        assert_eq!(*errors, json!([]));
    }

    pub(crate) async fn total(&self) -> Value {
        self.client.balance().await["total"].take()
    }

    pub(crate) async fn own_id(&self) -> String {
        id(&self.client.ask("{ viewer { id } }", json!({})).await["viewer"])
    }

    /// The images in their list.
    pub(crate) async fn images(&self) -> Vec<Value> {
        let answer = self
            .client
            .ask("{ images { nodes { id } } }", json!({}))
            .await;
        answer["images"]["nodes"].as_array().unwrap().clone()
    }

    /// Whether `image(id:)` or `job(id:)` finds it, and `node(id:)` the same.
    pub(crate) async fn sees(&self, what: &str, wanted: &Value) -> bool {
        let query =
            format!("query($id: ID!) {{ found: {what}(id: $id) {{ id }} node(id: $id) {{ id }} }}");
        let answer = self.client.ask(&query, json!({"id": wanted})).await;
        assert_eq!(answer["found"], answer["node"]);
        answer["found"] != Value::Null
    }
}

/// What administrators do.
impl Person {
    /// The payload of `createUser`.
    pub(crate) async fn create(&self, name: &str, password: &str) -> Value {
        let input = json!({"name": name, "password": password});
        self.create_user(input).await
    }

    /// The id of a new user.
    pub(crate) async fn creates(&self, name: &str, password: &str, credits: &str) -> String {
        let input = json!({"name": name, "password": password, "credits": credits});
        let payload = self.create_user(input).await;
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
        assert_eq!(payload["user"]["balance"]["total"], credits);
        id(&payload["user"])
    }

    async fn create_user(&self, input: Value) -> Value {
        let query = "mutation($input: CreateUserInput!) {
            createUser(input: $input) { user { id balance { total } } userErrors { code message field } }
        }";
        self.client.ask(query, json!({"input": input})).await["createUser"].take()
    }

    /// The payload of `updateUser`.
    pub(crate) async fn update(&self, user: &str, change: Value) -> Value {
        let mut input = change;
        input["userId"] = json!(user);
        let query = "mutation($input: UpdateUserInput!) {
            updateUser(input: $input) { user { id role status } userErrors { code message } }
        }";
        self.client.ask(query, json!({"input": input})).await["updateUser"].take()
    }

    pub(crate) async fn updates(&self, user: &str, change: Value) {
        let payload = self.update(user, change).await;
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
    }

    /// The payload of `setImageVisibility`.
    pub(crate) async fn publishes(&self, image: &Value, visibility: &str) -> Value {
        let query = publish(image, visibility);
        self.client.ask(&query, json!({})).await["setImageVisibility"].take()
    }

    /// The payload of `grantCredits`.
    pub(crate) async fn grants(&self, user: &str, amount: &str, key: Option<&str>) -> Value {
        let query = "mutation($input: GrantCreditsInput!) {
            grantCredits(input: $input) { user { id } ledgerEntry { id amount } userErrors { code message } }
        }";
        let input =
            json!({"userId": user, "amount": amount, "reason": "it is due", "idempotencyKey": key});
        self.client.ask(query, json!({"input": input})).await["grantCredits"].take()
    }

    /// How many dead letters the queue of a host has.
    pub(crate) async fn dead_letters(&self, host: &str) -> u64 {
        let query = "{ queues { name dead host { name } } }";
        let queues = self.client.ask(query, json!({})).await["queues"].take();
        let queues = queues.as_array().unwrap();
        let queue = queues.iter().find(|queue| queue["host"]["name"] == host);
        queue.unwrap()["dead"].as_u64().unwrap()
    }

    /// Sends the dead letters of a host's queue on their way; their ids.
    pub(crate) async fn redrives(&self, queue: &str) -> Vec<String> {
        let query = "mutation($queue: String) {
            retryDeadJobs(input: {queue: $queue}) { jobs { id state } userErrors { code message } }
        }";
        let answer = self.client.ask(query, json!({"queue": queue})).await;
        ids(&answer["retryDeadJobs"])
    }

    /// Waits until no job of anybody is live.
    pub(crate) async fn when_nothing_is_under_way(&self) {
        let query = "{ jobs(filter: {states: [QUEUED, RUNNING, RETRYING]}) { nodes { id } } }";
        until("every job has ended", async || {
            let answer = self.client.ask(query, json!({})).await;
            (answer["jobs"]["nodes"] == json!([])).then_some(())
        })
        .await;
    }

    pub(crate) async fn total_of(&self, user: &str) -> Value {
        let query = "query($id: ID!) { node(id: $id) { ... on User { balance { total } } } }";
        let answer = self.client.ask(query, json!({"id": user})).await;
        answer["node"]["balance"]["total"].clone()
    }

    /// The acts in the audit log.
    pub(crate) async fn acts(&self) -> Vec<String> {
        let query = "{ auditLog(first: 100) { nodes { action } } }";
        let answer = self.client.ask(query, json!({})).await;
        let entries = answer["auditLog"]["nodes"].as_array().unwrap().clone();
        let act = |entry: &Value| entry["action"].as_str().unwrap().to_owned();
        entries.iter().map(act).collect()
    }
}

fn ids(payload: &Value) -> Vec<String> {
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    payload["jobs"].as_array().unwrap().iter().map(id).collect()
}
