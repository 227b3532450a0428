//! The rows that a pull changes, locked by one statement in the order of locks: image, job, account.

use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType, Query};
use sea_orm::{ColumnTrait, ConnectionTrait as _, DbErr, FromQueryResult as _};
use uuid::Uuid;
use wharfinger_entity::{engine_image, job, user};

use crate::engine_images::lock::row::unlocked;
use crate::infra::db::sql::select_all;
use crate::infra::db::{Transaction, lock_rows};
use crate::job::lease::Lease;
use crate::ledger::Account;
use crate::services::Services;

/// The job and its user's credits; none when the lease was lost.
pub(super) type Fenced<'t> = Option<(job::Model, Account<'t>)>;

/// Locks the row of an image id on a host, the job of a lease and its user. None where the image has no row at this version, or
/// another process has the image's lock.
pub(super) async fn lock<'t>(
    tx: &'t Transaction,
    services: &Services,
    (host_id, image_id): (Uuid, &str),
    version: i64,
    lease: &Lease,
) -> Result<Option<(engine_image::Model, Fenced<'t>)>, DbErr> {
    let mut select = Query::select();
    select_all::<engine_image::Entity>(&mut select, "e_");
    select_all::<job::Entity>(&mut select, "j_");
    select_all::<user::Entity>(&mut select, "u_");
    select
        .from(engine_image::Entity)
        .join(
            JoinType::InnerJoin,
            job::Entity,
            job::Column::Id.eq(lease.job_id),
        )
        .join(
            JoinType::InnerJoin,
            user::Entity,
            Expr::col((user::Entity, user::Column::Id)).equals((job::Entity, job::Column::UserId)),
        )
        .and_where(engine_image::Column::HostId.eq(host_id))
        .and_where(engine_image::Column::ImageId.eq(image_id))
        .and_where(engine_image::Column::Version.eq(version))
        .cond_where(unlocked(services));
    lock_rows(tx, &mut select);
    let Some(found) = tx.query_one(&select).await? else {
        return Ok(None);
    };
    let row = engine_image::Model::from_query_result(&found, "e_")?;
    let job = job::Model::from_query_result(&found, "j_")?;
    let user = user::Model::from_query_result(&found, "u_")?;
    let ours = lease.is_of(&job);
    let fenced = ours.then(|| (job, Account::locked(tx, user, services.clock.now())));
    Ok(Some((row, fenced)))
}
