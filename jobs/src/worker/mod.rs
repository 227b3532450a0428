//! A worker: it runs beside a Docker engine, takes that host's jobs from the queue, and keeps the host's record and
//! images true.
//!
//! A message of the queue passes through [`run::run`]: claim in the database, run on the engine, settle.

mod heartbeat;
mod presence;
mod reconciling;
pub(crate) mod run;

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attempt::transfers::Transfers;
use crate::attempt::{Running, WorkerContext};
use crate::engine::{Engine, EngineInfo};
use crate::error::ServiceError;
use crate::hosts;
use crate::infra::tasks::NeededBy;
use crate::live::events::{Event, Topic};
use crate::live::notify::{Change, ProgressRequest};
use crate::registry::RegistryClient;
use crate::services::Services;
use presence::Presence;

/// A worker of one host.
pub struct Worker {
    context: Arc<WorkerContext>,
    host_id: Uuid,
    info: watch::Sender<Option<EngineInfo>>,
    /// None where no data directory was given, or it cannot be used.
    presence: Option<Presence>,
}

impl Worker {
    /// Joins the fleet under the name of its host, and asks the engine once, so that a host whose engine answers is
    /// online when this returns.
    pub async fn join(
        services: Services,
        engine: Engine,
        registry: RegistryClient,
        host: &str,
    ) -> Result<Self, ServiceError> {
        let settings = &services.settings.worker;
        let record = hosts::join(&services.db, host, settings, services.clock.now()).await?;
        let (info, latest) = watch::channel(None);
        let name = format!(
            "{host}/{}-{}",
            std::process::id(),
            &Uuid::new_v4().simple().to_string()[..8]
        );
        let services = Services {
            worker: Some(name.as_str().into()),
            ..services
        };
        let worker = Self {
            context: Arc::new(WorkerContext {
                worker: name,
                host: host.to_owned(),
                transfers: Transfers::new(services.settings.worker.stall_timeout),
                services,
                engine,
                registry,
                running: Running::default(),
                hand_back: CancellationToken::new(),
                engine_answers: watch::Sender::new(false),
                info: latest,
            }),
            host_id: record.id,
            info,
            presence: None,
        };
        worker.beat().await;
        if !*worker.context.engine_answers.borrow() {
            tracing::warn!(
                host,
                "the Docker engine does not answer yet: taking no jobs until it does"
            );
        }
        Ok(worker)
    }

    /// Whether the engine answered when last asked.
    pub fn engine_answers(&self) -> watch::Receiver<bool> {
        self.context.engine_answers.subscribe()
    }

    /// Tells how many attempts run here, for tests that wait for the end of all.
    #[cfg(feature = "testing")]
    pub fn attempts(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let running = self.context.running.clone();
        move || running.count()
    }

    /// The id of its host.
    pub fn host_id(&self) -> Uuid {
        self.host_id
    }

    /// Works until `stop`: then takes nothing more, gives running attempts `worker.grace` to end, and hands back those
    /// that have not, so that another attempt starts at once.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = &self.context.services.tasks;
        // The side tasks go on while running attempts end: a lease kept and a host online until the last of them.
        let side = CancellationToken::new();
        let heartbeat = tasks.looping("heartbeat", NeededBy::Worker, self.longest_beat());
        let beating = self.keep_beating(&heartbeat);
        let reconciler = tasks.looping("reconciler", NeededBy::Worker, reconciling::STILL);
        let reconciling = self.keep_reconciling(&reconciler, &side);
        let cancellations = tasks.task("cancellations", NeededBy::Worker);
        let hand_back = tasks.task("hand_back", NeededBy::Worker);
        let queue_worker = tasks.task("queue_worker", NeededBy::Worker);
        tokio::join!(
            heartbeat.clone().until(side.clone(), beating),
            reconciler.clone().run(side.clone(), reconciling),
            cancellations.until(side.clone(), self.listen()),
            hand_back.run(stop.clone(), self.hand_back_late(&stop, &side)),
            async {
                let taking = self.take_jobs(stop.clone());
                queue_worker.run(stop.clone(), taking).await;
                side.cancel();
            }
        );
    }

    /// Hands running attempts back that have not ended in time after `stop`.
    async fn hand_back_late(&self, stop: &CancellationToken, ended: &CancellationToken) {
        stop.cancelled().await;
        let grace = tokio::time::sleep(self.context.services.settings.worker.grace);
        if ended.run_until_cancelled(grace).await.is_some() {
            tracing::info!("the grace period is over: handing running jobs back");
            self.context.hand_back.cancel();
        }
    }

    async fn take_jobs(&self, stop: CancellationToken) {
        let host_id = self.host_id;
        let handler = {
            let (context, stop) = (Arc::clone(&self.context), stop.clone());
            move |dispatch: crate::queue::Dispatch| {
                let (context, stop) = (Arc::clone(&context), stop.clone());
                async move {
                    // A worker whose engine is silent claims nothing.
                    let mut answers = context.engine_answers.subscribe();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        answering = answers.wait_for(|answers| *answers) => if answering.is_err() { return },
                    }
                    Box::pin(run::run(&context, host_id, dispatch)).await;
                }
            }
        };
        let context = &self.context;
        let concurrency = context.services.settings.worker.concurrency as usize;
        let queue = &context.services.queue;
        queue
            .run(&context.host, &context.worker, concurrency, handler, stop)
            .await;
    }

    /// Stops running attempts at once when their cancellation is announced (one that is missed here is seen at the next
    /// renewal of the lease), and tells their progress when a gateway asks.
    async fn listen(&self) {
        let running = &self.context.running;
        let mut words = self.context.services.events.subscribe(Topic::AllJobs);
        while let Some(event) = words.next().await {
            let Event::Message(payload) = event else {
                continue;
            };
            if let Ok(request) = serde_json::from_slice::<ProgressRequest>(&payload) {
                if let Some(run) = running.of(request.job_id) {
                    run.tell();
                }
            } else if let Ok(change) = serde_json::from_slice::<Change>(&payload)
                && change.cancel_requested
                && let Some(run) = running.of(change.job_id)
            {
                run.cancel.cancel();
            }
        }
    }
}
