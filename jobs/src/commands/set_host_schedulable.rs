//! `setHostSchedulable`: new jobs are kept from a host, or let onto it again.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, host};

use crate::accounts::audit::{Actor, Subject};
use crate::accounts::still_administrator;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{for_update, in_transaction};
use crate::services::Services;

/// Drains a host, or lets new jobs onto it again. On a drained host running jobs end, and so do removals, pulls whose
/// user named the host, and pulls that have begun on its engine; other waiting pulls are placed anew within seconds,
/// and end there too where no other host takes jobs. What users hold there stays.
///
/// Enters the audit log where it changes anything.
pub async fn set_host_schedulable(
    services: &Services,
    actor: &Actor,
    host_id: Option<Uuid>,
    schedulable: bool,
) -> Result<host::Model, ServiceError> {
    let host = in_transaction!(services.db, |tx| {
        still_administrator(&tx, actor).await?;
        let host = match host_id {
            Some(id) => {
                for_update(&tx, host::Entity::find_by_id(id))
                    .one(&tx)
                    .await?
            }
            None => None,
        };
        let host = host.ok_or_else(|| {
            UserError::new(
                UserErrorCode::HostNotFound,
                "hostId",
                "there is no such host: `hosts` lists them",
            )
        })?;
        if host.schedulable == schedulable {
            return Ok::<_, ServiceError>(host);
        }
        let subject = Subject::one(host.id, host.name.clone());
        let details = json!({"schedulable": schedulable});
        let now = services.clock.now();
        let action = AuditAction::SetHostSchedulable;
        actor.record(&tx, action, subject, details, now).await?;
        let mut host = host.into_active_model();
        host.schedulable = Set(schedulable);
        Ok(host.update(&tx).await?)
    })?;
    services.wake.all();
    Ok(host)
}
