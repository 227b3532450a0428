//! How the databases read a page of a long list: from the index that has the list's order, and no more of it than the
//! page, wherever the page is.

use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, IntoActiveModel as _,
    QueryResult, Statement,
};
use serde_json::Value;
use uuid::Uuid;
use wharfinger_entity::{ImageVisibility, JobState, Timestamp, image, job};
use wharfinger_jobs::infra::db::Pool;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::images::{self, ImageFilter, ImageOrder, With};
use wharfinger_jobs::queries::jobs::{self, JobFilter};
use wharfinger_jobs::queries::page::PageArgs;

use crate::support::bare::Bare;
use crate::support::{Shape, on_every_shape};

on_every_shape!(
    a_page_costs_what_is_on_it,
    a_page_of_jobs_costs_what_is_on_it
);

/// Images that each of the holders holds.
const ROWS: i64 = 2000;

/// Images on a page. One more is read, to know whether there is another page.
const PAGE: i32 = 20;

const ORDERS: [(ImageOrder, &str); 5] = [
    (ImageOrder::PulledAtDesc, "pulled_at"),
    (ImageOrder::PulledAtAsc, "pulled_at"),
    (ImageOrder::SizeDesc, "size"),
    (ImageOrder::SizeAsc, "size"),
    (ImageOrder::ReferenceAsc, "reference"),
];

/// Everything that can be read beside the images.
const ALL: With = With {
    engine: true,
    host: true,
};

async fn a_page_costs_what_is_on_it(shape: Shape) {
    let bare = Bare::start(shape).await;
    let db = &bare.services.db;
    let (viewer, other, host) = (
        bare.user().await,
        bare.user().await,
        bare.host(|_| ()).await,
    );
    let first = bare.hold(host, Some(viewer), "docker.io/a/first:1").await;
    let first = image::Entity::find_by_id(first).one(db.read()).await;
    let first = first.unwrap().unwrap();
    for holder in [viewer, other, Uuid::nil()] {
        fill(db.write(), &first, holder).await;
    }
    analyze(db.write(), "images").await;

    for (order, column) in ORDERS {
        // In the middle of the list.
        let half = PageArgs {
            first: Some(100),
            ..PageArgs::default()
        };
        let mut cursor = None;
        for _ in 0..10 {
            let page = PageArgs {
                after: cursor,
                ..half.clone()
            };
            let (filter, with) = (ImageFilter::default(), With::default());
            let user = Viewer::user(viewer);
            let read = images::list(db, user, viewer, &filter, order, &page, with).await;
            cursor = read.unwrap().items.last().map(|(cursor, _)| cursor.clone());
        }
        for page in pages_around(cursor) {
            let statement = images::statement(db.backend(), viewer, order, &page, ALL);
            let statement = statement.unwrap().unwrap();
            let index = format!("ix_images_holder_state_{column}_id");
            if db.backend() == DbBackend::Postgres {
                let scans = scans_planned_once(db.read(), &statement, "images").await;
                assert_eq!(scans.len(), 2, "{scans:?}");
                read_only_the_page(&scans, &index);
            }
            let scans = scans(db.read(), statement, "images", "holder=? AND state=?").await;
            assert_eq!(scans.len(), 2, "{scans:?}");
            read_only_the_page(&scans, &index);
        }
    }
}

/// Of somebody whose jobs are older than everybody else's: by their ids, all of the others' come first.
async fn a_page_of_jobs_costs_what_is_on_it(shape: Shape) {
    let bare = Bare::start(shape).await;
    let db = &bare.services.db;
    let (viewer, other, host) = (
        bare.user().await,
        bare.user().await,
        bare.host(|_| ()).await,
    );
    let like = bare.pull(other, Some(host), "127.0.0.1:1/a:1").await;
    for (user_id, ordinal) in [(viewer, 0), (other, 1)] {
        let rows: Vec<_> = (0..ROWS)
            .map(|number| {
                job::Model {
                    id: Uuid::now_v7(),
                    user_id,
                    state: JobState::Succeeded,
                    ordinal: ordinal + 2 * number + 10,
                    live: None,
                    ..like.clone()
                }
                .into_active_model()
                .reset_all()
            })
            .collect();
        for rows in rows.chunks(500) {
            let insert = job::Entity::insert_many(rows.iter().cloned());
            insert.exec_without_returning(db.write()).await.unwrap();
        }
    }
    analyze(db.write(), "jobs").await;
    let (user, filter) = (Viewer::user(viewer), JobFilter::default());
    let half = PageArgs {
        first: Some(100),
        ..PageArgs::default()
    };
    let read = jobs::list(db, user, &filter, &half).await.unwrap();
    let cursor = read.items.last().map(|(cursor, _)| cursor.clone());
    for page in pages_around(cursor) {
        let statement = jobs::statement(db.backend(), user, &filter, &page).unwrap();
        if db.backend() == DbBackend::Postgres {
            let scans = scans_planned_once(db.read(), &statement, "jobs").await;
            assert_eq!(scans.len(), 1, "{scans:?}");
            read_only_the_page(&scans, "ix_jobs_user_id_id");
        }
        let scans = scans(db.read(), statement, "jobs", "user_id=?").await;
        assert_eq!(scans.len(), 1, "{scans:?}");
        read_only_the_page(&scans, "ix_jobs_user_id_id");
    }
}

/// The first page, the one after a cursor, and the one before it.
fn pages_around(cursor: Option<String>) -> [PageArgs; 3] {
    [
        PageArgs {
            first: Some(PAGE),
            ..PageArgs::default()
        },
        PageArgs {
            first: Some(PAGE),
            after: cursor.clone(),
            ..PageArgs::default()
        },
        PageArgs {
            last: Some(PAGE),
            before: cursor,
            ..PageArgs::default()
        },
    ]
}

/// Lets the database see what is in a table.
async fn analyze(db: &Pool, table: &str) {
    let sql = match db.get_database_backend() {
        DbBackend::MySql => format!("ANALYZE TABLE {table}"),
        _ => "ANALYZE".to_owned(),
    };
    db.execute_unprepared(&sql).await.unwrap();
}

/// Copies an image for a holder, in other orders by time, size and reference.
async fn fill(db: &Pool, like: &image::Model, holder: Uuid) {
    let rows: Vec<_> = (0..ROWS)
        .map(|number| {
            let public = holder.is_nil();
            image::Model {
                id: Uuid::now_v7(),
                user_id: (!public).then_some(holder),
                holder,
                reference: format!("docker.io/b/{}:{number}", number * 17 % ROWS),
                visibility: if public {
                    ImageVisibility::Public
                } else {
                    ImageVisibility::Private
                },
                size: number * 7 % 500,
                pulled_at: Timestamp::from_micros(number),
                ..like.clone()
            }
            .into_active_model()
            .reset_all()
        })
        .collect();
    for rows in rows.chunks(500) {
        let insert = image::Entity::insert_many(rows.iter().cloned());
        insert.exec_without_returning(db).await.unwrap();
    }
}

fn read_only_the_page(scans: &[(String, f64)], index: &str) {
    for (used, read) in scans {
        assert_eq!(used, index, "{scans:?}");
        assert!(*read <= f64::from(PAGE + 1), "{scans:?}");
    }
}

/// The indexes that a statement reads a table by, with how many rows it reads. SQLite does not say that: a scan has to be by
/// these columns of its index.
async fn scans(db: &Pool, statement: Statement, table: &str, by: &str) -> Vec<(String, f64)> {
    let backend = db.get_database_backend();
    let explain = match backend {
        DbBackend::Postgres => "EXPLAIN (ANALYZE, FORMAT JSON) ",
        DbBackend::MySql => "ANALYZE ",
        _ => "EXPLAIN QUERY PLAN ",
    };
    let sql = format!("{explain}{}", statement.sql);
    let values = statement.values.map(|values| values.0).unwrap_or_default();
    let explain = Statement::from_sql_and_values(backend, sql, values);
    let rows = db.query_all_raw(explain).await.unwrap();
    let mut scans = Vec::new();
    match backend {
        DbBackend::Postgres => {
            let plan: Value = rows[0].try_get_by_index(0).unwrap();
            scans_in(&plan, table, &mut scans);
        }
        DbBackend::MySql => scans.extend(rows.iter().filter_map(|step| scan(step, table))),
        _ => {
            for row in &rows {
                let step: String = row.try_get("", "detail").unwrap();
                if step.contains(&format!(" {table} ")) {
                    let (_, index) = step.split_once(" USING INDEX ").expect(&step);
                    let (index, columns) = index.split_once(" (").expect(&step);
                    assert!(columns.starts_with(by), "{step}");
                    scans.push((index.to_owned(), 0.0));
                }
            }
        }
    }
    scans
}

/// The same on PostgreSQL for a statement that is planned for any values at all, as on a gateway's connections.
async fn scans_planned_once(db: &Pool, statement: &Statement, table: &str) -> Vec<(String, f64)> {
    let values = statement.values.clone().map(|values| values.0);
    let values = values.unwrap_or_default();
    let places: Vec<_> = (1..=values.len())
        .map(|place| format!("${place}"))
        .collect();
    let execute = format!(
        "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({})",
        places.join(", ")
    );
    // EXECUTE takes no values of its own statement: they are written into it.
    let execute = Statement::from_sql_and_values(DbBackend::Postgres, execute, values).to_string();
    let tx = db.begin().await.unwrap();
    let prepare = format!("PREPARE page AS {}", statement.sql);
    for sql in ["SET LOCAL plan_cache_mode = force_generic_plan", &prepare] {
        tx.execute_unprepared(sql).await.unwrap();
    }
    let plan = Statement::from_string(DbBackend::Postgres, execute);
    let plan = tx.query_one_raw(plan).await.unwrap().unwrap();
    let plan: Value = plan.try_get_by_index(0).unwrap();
    tx.execute_unprepared("DEALLOCATE page").await.unwrap();
    tx.rollback().await.unwrap();
    let text = plan.to_string();
    assert!(text.contains("$1"), "planned for these values: {text}");
    let mut scans = Vec::new();
    scans_in(&plan, table, &mut scans);
    scans
}

/// The index of a step of MariaDB's plan, and how many rows it read, if it is a scan of this table.
fn scan(step: &QueryResult, table: &str) -> Option<(String, f64)> {
    let text = |column| {
        step.try_get::<Option<String>>("", column)
            .unwrap()
            .unwrap_or_default()
    };
    if text("table") != table {
        return None;
    }
    // Any other way filters entries of the index without counting them.
    assert_eq!(text("type"), "range");
    Some((text("key"), text("r_rows").parse().unwrap()))
}

/// The same of every scan in PostgreSQL's plan.
fn scans_in(plan: &Value, table: &str, scans: &mut Vec<(String, f64)>) {
    match plan {
        Value::Array(steps) => steps.iter().for_each(|step| scans_in(step, table, scans)),
        Value::Object(step) => {
            let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
            let number = |name: &str| step.get(name).and_then(Value::as_f64).unwrap_or_default();
            if text("Relation Name") == table {
                let read = number("Actual Rows") + number("Rows Removed by Filter");
                scans.push((text("Index Name").to_owned(), read));
            }
            step.values().for_each(|step| scans_in(step, table, scans));
        }
        _ => {}
    }
}
