//! Whether the database takes a write: tried by a timer, so that a crowd that asks makes no writes.

use std::time::Duration;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::write_probe;

use crate::infra::tasks::{NeededBy, Task};
use crate::services::Services;

/// Time between two writes.
const PERIOD: Duration = Duration::from_secs(2);

/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a result counts.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// The result of the last write. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WriteProbe(watch::Receiver<Option<Tried>>);

/// When a write was tried, and why it failed.
type Tried = (Instant, Result<(), String>);

impl WriteProbe {
    /// Begins to try, until `stop`, on the connections that requests write on. Call it inside a Tokio runtime.
    pub fn start(services: &Services, stop: &CancellationToken) -> Self {
        let (results, probe) = watch::channel(None);
        let services = services.for_requests();
        let task = services
            .tasks
            .looping("write_probe", NeededBy::All, GOOD_FOR + PATIENCE);
        let probing = task.clone();
        tokio::spawn(task.until(stop.clone(), async move {
            keep_trying(&services, &results, &probing).await;
        }));
        Self(probe)
    }

    /// Whether the last write was stored, or why not. It waits for the first one.
    pub async fn result(&self) -> Result<(), String> {
        let mut results = self.0.clone();
        let tried = timeout(PATIENCE, results.wait_for(Option::is_some)).await;
        let Ok(Ok(Some((at, written)))) = tried.map(|tried| tried.map(|tried| tried.clone()))
        else {
            return Err("no write has ended yet".to_owned());
        };
        written?;
        let age = at.elapsed();
        if age > GOOD_FOR {
            return Err(format!("no write was stored for {} s", age.as_secs()));
        }
        Ok(())
    }
}

async fn keep_trying(services: &Services, results: &watch::Sender<Option<Tried>>, task: &Task) {
    // Each process has a row of its own, which no other one locks.
    let process = Uuid::now_v7();
    loop {
        let written = timeout(PATIENCE, write(services, process)).await;
        let written = match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("it was not stored within {PATIENCE:?}")),
        };
        results.send_replace(Some((Instant::now(), written)));
        task.passed();
        tokio::time::sleep(PERIOD).await;
    }
}

async fn write(services: &Services, process: Uuid) -> Result<(), DbErr> {
    let row = write_probe::ActiveModel {
        id: Set(process),
        written_at: Set(services.clock.now()),
    };
    write_probe::Entity::insert(row)
        .on_conflict(
            OnConflict::column(write_probe::Column::Id)
                .update_column(write_probe::Column::WrittenAt)
                .to_owned(),
        )
        .exec_without_returning(services.db.write())
        .await?;
    Ok(())
}
