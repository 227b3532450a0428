//! Three pulls in the middle of their bytes, and clients that watch them, while connections fall silent: neither forwarded nor
//! closed, as when a firewall forgets them.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::support::graphql::Client;
use crate::support::images::{downloads, push};
use crate::support::own_server::DiskServer;
use crate::support::process::Process;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{books, soon};

/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(3);

/// How often a worker tells that its host is there: a sixth of `host.offline_after`.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a busy machine may add.
pub(super) const SLACK: Duration = Duration::from_secs(3);

/// Three pulls in the middle of their bytes, and the clients that watch them.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) client: Client,
    pub(super) registry: RegistryProxy,
    pub(super) jobs: Vec<String>,
    socket: Subscription,
    events: AbortOnDropHandle<String>,
    _processes: [Process; 2],
    /// Its own, because pulls that stand still keep an engine's few places for downloads.
    _engine: DiskServer,
}

impl Scene {
    pub(super) async fn begin(mut world: World) -> Self {
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        world.set("WHARFINGER_LIMITS__REQUEST_TIME", &seconds(REQUEST));
        world.set("WHARFINGER_HOST__OFFLINE_AFTER", &seconds(6 * HEARTBEAT));
        world.set("WHARFINGER_WORKER__LEASE", "6s");
        let token = world.user("ada", &[]);
        let engine = DiskServer::start("engine", 512);
        let worker = world.worker_at("one", &engine.docker_host()).await;
        let gateway = world.gateway().await;
        let client = gateway.client(&token);
        client.online_host("one").await;
        let registry = RegistryProxy::start(&world.registry.address, 6_000_000).await;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let image = push(&world, 8_000_000).await;
            jobs.push(client.pull(&format!("{}/{image}", registry.address)).await);
        }
        let mut socket = Subscription::progress(&client, &jobs[0]).await;
        socket.next_where("bytes have arrived", downloads).await;
        for job in &jobs {
            client.runs(job).await;
        }
        let events = stream(&client, &jobs[1]).await;
        Self {
            world,
            client,
            registry,
            jobs,
            socket,
            events,
            _processes: [worker, gateway],
            _engine: engine,
        }
    }

    /// Sends requests for a while. Each is answered in time, well or not.
    pub(super) async fn requests_are_answered(&self, during: Duration) {
        let start = Instant::now();
        while start.elapsed() < during {
            let asked = Instant::now();
            let asking = [
                self.ask("{ balance { total } }"),
                self.ask("{ jobs(first: 5) { nodes { id state } } }"),
            ];
            futures::future::join_all(asking).await;
            let took = asked.elapsed();
            assert!(took < REQUEST + SLACK, "a request took {took:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ask(&self, query: &str) {
        let (_, answer) = self.client.send(query, json!({})).await;
        if let Some(errors) = answer.get("errors") {
            let code = errors[0]["extensions"]["code"].as_str().unwrap();
            assert!(
                ["UNAVAILABLE", "LIMIT_EXCEEDED"].contains(&code),
                "{answer}"
            );
        }
    }

    /// The pulls go on, and end well within `bound`; the clients that watch see no error.
    pub(super) async fn ends_well_within(&mut self, bound: Duration) {
        let start = Instant::now();
        self.registry.open();
        for job in &self.jobs {
            self.client.succeeded(job).await;
        }
        let took = start.elapsed();
        assert!(took < bound, "the pulls took {took:?}");
        let seen = self.socket.rest().await;
        assert_eq!(seen.last().unwrap()["state"], "SUCCEEDED");
        let text = soon("the events end", &mut self.events).await.unwrap();
        assert!(text.contains("\"SUCCEEDED\""), "{text}");
        assert!(!text.contains("\"errors\""), "{text}");
        books::in_order(&self.world, &self.client, 3, 0).await;
    }
}

/// Opens a stream of server-sent events, waits for the first one, and reads on to its end in the background.
async fn stream(client: &Client, job: &str) -> AbortOnDropHandle<String> {
    let client = client.with_header("accept", "text/event-stream");
    let query = "subscription($id: ID!) { pullProgress(jobId: $id) { state downloaded } }";
    let mut opened = client.stream(query, json!({"id": job})).await;
    let mut text = String::new();
    while !text.contains("event: next") {
        let part = soon("an event", opened.chunk()).await.unwrap();
        text += std::str::from_utf8(&part.expect("an event before the end")).unwrap();
    }
    AbortOnDropHandle::new(tokio::spawn(
        async move { text + &opened.text().await.unwrap() },
    ))
}
