//! Rows that would take a worker and an engine to come about.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{
    Credits, EngineImageStatus, ExposedPorts, ImageState, ImageVisibility, Role, engine_image,
    host, image,
};
use wharfinger_jobs::accounts::{NewUser, create_user};
use wharfinger_jobs::pull_image::PullImage;
use wharfinger_jobs::services::Services;

/// An instant that is not past while a test runs.
pub(crate) const LATER: Duration = Duration::from_hours(1);

/// A new user of a random name.
pub(crate) async fn user(services: &Services, role: Role, credits: Credits) -> Uuid {
    let new = NewUser {
        name: format!("u{}", Uuid::new_v4().simple()),
        role,
        password_hash: None,
        credits,
    };
    let made = create_user(&services.db, &new, services.clock.now()).await;
    made.unwrap().id
}

/// A request for an image, without a key.
pub(crate) fn pull_image(user_id: Uuid, host: Option<Uuid>, reference: &str) -> PullImage {
    PullImage {
        user_id,
        reference: reference.to_owned(),
        host,
        idempotency_key: None,
        traceparent: None,
    }
}

/// A host that is online, takes jobs, runs one at a time and has 1 GB of 10 GB free, unless changed.
pub(crate) async fn host(services: &Services, change: impl FnOnce(&mut host::ActiveModel)) -> Uuid {
    let now = services.clock.now();
    let id = Uuid::now_v7();
    let mut host = host::ActiveModel {
        id: Set(id),
        name: Set(format!("host-{}", id.simple())),
        schedulable: Set(true),
        engine_version: Set(None),
        platform: Set(None),
        labels: Set(json!({})),
        storage_used: Set(Some(9_000_000_000)),
        storage_total: Set(Some(10_000_000_000)),
        concurrency: Set(1),
        created_at: Set(now),
        last_seen_at: Set(Some(now.after(2 * LATER))),
    };
    change(&mut host);
    host.insert(services.db.write()).await.unwrap().id
}

/// Has a user, or everybody, hold an image on a host.
pub(crate) async fn hold(
    services: &Services,
    host_id: Uuid,
    holder: Option<Uuid>,
    reference: &str,
) -> Uuid {
    let now = services.clock.now();
    let on_engine = engine_image::ActiveModel {
        id: Set(Uuid::now_v7()),
        host_id: Set(host_id),
        image_id: Set(format!("sha256:{}", Uuid::new_v4().simple())),
        status: Set(EngineImageStatus::Present),
        brought: Set(true),
        size: Set(1),
        platform: Set("linux/amd64".into()),
        exposed_ports: Set(ExposedPorts::default()),
        version: Set(0),
        lock_token: Set(None),
        lock_holder: Set(None),
        lock_until: Set(None),
        created_at: Set(now),
    };
    let on_engine = on_engine.insert(services.db.write()).await.unwrap();
    hold_too(services, &on_engine, holder, reference).await
}

/// The same of an image that is on the engine already.
pub(crate) async fn hold_too(
    services: &Services,
    on_engine: &engine_image::Model,
    holder: Option<Uuid>,
    reference: &str,
) -> Uuid {
    let visibility = match holder {
        Some(_) => ImageVisibility::Private,
        None => ImageVisibility::Public,
    };
    let holding = image::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(holder),
        holder: Set(holder.unwrap_or_default()),
        host_id: Set(on_engine.host_id),
        engine_image_id: Set(on_engine.id),
        reference: Set(reference.to_owned()),
        digest: Set(None),
        visibility: Set(visibility),
        state: Set(ImageState::Held),
        charge: Set(Credits::ZERO),
        size: Set(on_engine.size),
        pulled_at: Set(services.clock.now()),
        released_at: Set(None),
        live: Set(Some(1)),
    };
    holding.insert(services.db.write()).await.unwrap().id
}
