//! The statements that read images, and their rows.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, QueryResult, Statement};
use uuid::Uuid;
use wharfinger_entity::{ImageState, host, image};

use super::{ImageFilter, ImageView, OnEngine, With, pattern};
use crate::infra::db::Pool;
use crate::infra::db::sql::{Columns, Sql, columns};
use crate::queries::page::{Ordering, PageError, PageRequest};

columns!(HOLDING, holding -> image::Model {
    id, user_id, holder, host_id, engine_image_id, reference, digest, visibility, state, charge, size, pulled_at,
    released_at, live
});

columns!(ON_ENGINE, on_engine -> OnEngine { image_id, platform, exposed_ports });

columns!(HOST, host -> host::Model {
    id, name, schedulable, engine_version, platform, labels, storage_used, storage_total, concurrency, created_at,
    last_seen_at
});

/// A page of these holders' images in these states; none where there is neither.
///
/// Each holder's images in each state are a range of one index, which has them in the list's order. So a page is cut off
/// each range, and these pages are merged: nothing is sorted but they. `holder IN (…)` would sort all there is.
pub(super) fn page(
    backend: DbBackend,
    ranges: &[(Uuid, ImageState)],
    filter: &ImageFilter,
    ordering: Ordering,
    request: &PageRequest,
    with: With,
) -> Result<Option<Statement>, PageError> {
    if ranges.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new(backend);
    select(&mut sql, with);
    sql.push(" FROM (");
    for (number, (holder, state)) in ranges.iter().enumerate() {
        if number > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push("SELECT * FROM (SELECT ");
        sql.list("", HOLDING);
        sql.push(" FROM images WHERE ").within("holder", *holder);
        sql.push(" AND ").within("state", *state);
        if let Some(host_id) = filter.host_id {
            sql.push(" AND host_id = ").bind(host_id);
        }
        if let Some(part) = filter.search.as_deref().filter(|part| !part.is_empty()) {
            match pattern(part) {
                Some(pattern) => sql
                    .push(" AND LOWER(reference) LIKE ")
                    .bind(pattern)
                    .push(" ESCAPE '!'"),
                None => sql.push(" AND 1 = 0"),
            };
        }
        request.write(&mut sql, ordering, &["holder", "state"])?;
        sql.push(") AS part").number(number as u64);
    }
    if ranges.len() > 1 {
        request.write_order(&mut sql, ordering, &[], "");
        sql.push(" LIMIT ").number(request.rows());
    }
    sql.push(") AS i");
    join(&mut sql, with);
    request.write_order(&mut sql, ordering, &[], "i.");
    Ok(Some(sql.statement()))
}

/// These images; those that `holder` may see, if there is one.
pub(super) fn by_ids(
    backend: DbBackend,
    holder: Option<Uuid>,
    ids: &[Uuid],
    with: With,
) -> Statement {
    let mut sql = Sql::new(backend);
    select(&mut sql, with);
    sql.push(" FROM images AS i");
    join(&mut sql, with);
    sql.push(" WHERE i.id IN ").bind_all(ids.iter().copied());
    if let Some(holder) = holder {
        sql.push(" AND i.holder IN ")
            .bind_all([holder, Uuid::nil()]);
    }
    sql.statement()
}

fn select(sql: &mut Sql, with: With) {
    sql.push("SELECT ");
    sql.list("i.", HOLDING);
    if with.engine {
        sql.push(", ");
        sql.list("e.", ON_ENGINE);
    }
    if with.host {
        sql.push(", ");
        sql.list("h.", HOST);
    }
}

fn join(sql: &mut Sql, with: With) {
    if with.engine {
        sql.push(" JOIN engine_images AS e ON e.id = i.engine_image_id");
    }
    if with.host {
        sql.push(" JOIN hosts AS h ON h.id = i.host_id");
    }
}

/// The images that such a statement finds.
pub(super) async fn read(
    pool: &Pool,
    statement: Statement,
    with: With,
) -> Result<Vec<ImageView>, DbErr> {
    let rows = pool.query_all_raw(statement).await?;
    let mut hosts = Vec::new();
    rows.iter().map(|row| view(row, with, &mut hosts)).collect()
}

/// `hosts` are those of the rows before: there are few, and each is read once.
fn view(
    row: &QueryResult,
    with: With,
    hosts: &mut Vec<Arc<host::Model>>,
) -> Result<ImageView, DbErr> {
    let mut columns = Columns::of(row);
    let image = holding(&mut columns)?;
    let engine = with.engine.then(|| on_engine(&mut columns)).transpose()?;
    let known = hosts.iter().find(|host| host.id == image.host_id);
    let host = match known {
        Some(known) => Some(Arc::clone(known)),
        None if with.host => {
            let host = Arc::new(host(&mut columns)?);
            hosts.push(Arc::clone(&host));
            Some(host)
        }
        None => None,
    };
    Ok(ImageView {
        image,
        engine,
        host,
    })
}
