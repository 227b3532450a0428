//! Rows by the million, made by the database itself. Ids grow with their number, as real ones do with time.

use std::fmt::Write as _;
use std::ops::Range;

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;
use wharfinger_entity::Timestamp;
use wharfinger_jobs::accounts::create_token;
use wharfinger_jobs::infra::db::Db;

use crate::Outcome;

/// Hosts that the images are on.
const HOSTS: u64 = 5;

/// Images and jobs of each user, where there are many users.
pub(crate) const EACH: u64 = 100;

/// Images one after the other that have the same size.
const ALIKE: u64 = 10;

/// Kinds of rows, as the upper half of their ids.
#[derive(Clone, Copy)]
enum Kind {
    Host = 1,
    EngineImage = 2,
    User = 3,
    /// Of one user.
    Image = 4,
    /// Of many.
    ImageOfMany = 5,
    Job = 6,
    JobOfMany = 7,
    Public = 8,
}

/// Who holds the rows.
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    /// This user.
    One(Uuid),
    /// Users who hold [`EACH`] each; they are made.
    Many,
    /// Nobody: public ones.
    Nobody,
}

/// A connection of its own: settings of the session last.
pub(crate) async fn connect(url: &str) -> Outcome<DatabaseConnection> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.sqlx_logging(false).max_connections(1);
    let database = Database::connect(options).await?;
    if database.get_database_backend() == DbBackend::MySql {
        let settings =
            "SET SESSION sql_mode = 'PIPES_AS_CONCAT', max_recursive_iterations = 4294967295";
        database.execute_unprepared(settings).await?;
    }
    Ok(database)
}

/// A user by name.
pub(crate) async fn user(database: &DatabaseConnection, name: &str) -> Outcome<Uuid> {
    let sql = format!("SELECT id FROM users WHERE name = '{name}'");
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let row = database.query_one_raw(statement).await?;
    Ok(row.ok_or("no such user")?.try_get_by_index(0)?)
}

/// Tokens of a user: as many clients.
pub(crate) async fn tokens(url: &str, user: Uuid, count: usize) -> Outcome<Vec<String>> {
    let db = Db::connect(url).await?;
    let now = Timestamp::from(chrono::Utc::now());
    let mut tokens = Vec::new();
    for number in 0..count {
        tokens.push(create_token(&db, user, &number.to_string(), None, now).await?);
    }
    Ok(tokens)
}

/// The hosts.
pub(crate) async fn hosts(database: &DatabaseConnection) -> Outcome {
    let id = id(database.get_database_backend(), Kind::Host, "i");
    fill(
        database,
        "hosts (id, name, schedulable, labels, concurrency, created_at)",
        0..HOSTS,
        &format!("{id}, 'host-' || i, TRUE, '{{}}', 4, 0"),
    )
    .await
}

/// Images of the engine with these numbers of holdings, and the holdings.
pub(crate) async fn images(
    database: &DatabaseConnection,
    numbers: Range<u64>,
    holder: Holder,
) -> Outcome {
    let backend = database.get_database_backend();
    let id = |kind, number: &str| id(backend, kind, number);
    let host = format!("i % {HOSTS}");
    let sum = format!("'sha256:' || i || '-' || {}", kind(holder) as u64);
    let size = format!("({} * 7919 + 1) % 1000003 * 1000", part(backend, ALIKE));
    let shared = format!("{} + i", kind(holder) as u64 * 100_000_000);
    let engine_image = id(Kind::EngineImage, &shared);
    fill(
        database,
        "engine_images (id, host_id, image_id, status, brought, size, platform, exposed_ports, version, created_at)",
        numbers.clone(),
        &format!(
            "{engine_image}, {}, {sum}, 'PRESENT', TRUE, {size}, 'linux/amd64', '[\"80/tcp\"]', 0, 0",
            id(Kind::Host, &host)
        ),
    )
    .await?;
    let (user, holder_id, visibility) = match holder {
        Holder::One(user) => {
            let user = literal(backend, user);
            (user.clone(), user, "PRIVATE")
        }
        Holder::Many => {
            users(database, numbers.start / EACH..numbers.end / EACH).await?;
            let user = id(Kind::User, &part(backend, EACH));
            (user.clone(), user, "PRIVATE")
        }
        Holder::Nobody => ("NULL".to_owned(), literal(backend, Uuid::nil()), "PUBLIC"),
    };
    fill(
        database,
        "images (id, user_id, holder, host_id, engine_image_id, reference, visibility, state, charge, size, pulled_at, live)",
        numbers,
        &format!(
            "{}, {user}, {holder_id}, {}, {engine_image}, 'docker.io/bench/' || (i * 7919 % 1000003) || ':' || i, \
             '{visibility}', 'HELD', i * 1000, {size}, 1700000000000000 + i, 1",
            id(kind(holder), "i"),
            id(Kind::Host, &host)
        ),
    )
    .await
}

/// Jobs that have ended.
pub(crate) async fn jobs(
    database: &DatabaseConnection,
    numbers: Range<u64>,
    user: Option<Uuid>,
) -> Outcome {
    let backend = database.get_database_backend();
    let id = |kind, number: &str| id(backend, kind, number);
    let (kind, user) = match user {
        Some(user) => (Kind::Job, literal(backend, user)),
        None => (Kind::JobOfMany, id(Kind::User, &part(backend, EACH))),
    };
    fill(
        database,
        "jobs (id, kind, state, user_id, host_id, host_named, reference, held, attempt, max_attempts, ordinal, turn, \
         run_after, cancel_requested, touched_engine, sequence, created_at, accepted_at)",
        numbers,
        &format!(
            "{}, 'PULL_IMAGE', 'SUCCEEDED', {user}, {}, FALSE, 'docker.io/bench/' || i || ':v', 0, 1, 5, i, i, 0, FALSE, \
             FALSE, 1, 1700000000000000 + i, 1700000000000000 + i",
            id(kind, "i"),
            id(Kind::Host, &format!("i % {HOSTS}"))
        ),
    )
    .await
}

async fn users(database: &DatabaseConnection, numbers: Range<u64>) -> Outcome {
    let id = id(database.get_database_backend(), Kind::User, "i");
    fill(
        database,
        "users (id, name, name_key, role, status, total, held, ledger_entries, accepted_jobs, created_at)",
        numbers,
        &format!("{id}, 'user-' || i, 'user-' || i, 'USER', 'ACTIVE', 0, 0, 0, 0, 0"),
    )
    .await
}

/// Lets the database see what it has, as it does by itself in a while.
pub(crate) async fn ready(database: &DatabaseConnection) -> Outcome {
    match database.get_database_backend() {
        DbBackend::Postgres => run(database, "VACUUM ANALYZE").await,
        DbBackend::MySql => run(database, "ANALYZE TABLE images, jobs, users, engine_images").await,
        _ => Ok(()),
    }
}

fn kind(holder: Holder) -> Kind {
    match holder {
        Holder::One(_) => Kind::Image,
        Holder::Many => Kind::ImageOfMany,
        Holder::Nobody => Kind::Public,
    }
}

/// The id of a row by an expression for its number.
fn id(backend: DbBackend, kind: Kind, number: &str) -> String {
    let number = format!("{} + ({number})", (kind as u64) << 40);
    match backend {
        DbBackend::Postgres => format!("CAST(lpad(to_hex({number}), 32, '0') AS uuid)"),
        DbBackend::MySql => format!("unhex(lpad(hex({number}), 32, '0'))"),
        _ => format!("unhex(printf('%032x', {number}))"),
    }
}

/// `i` divided by a number, without the remainder.
fn part(backend: DbBackend, by: u64) -> String {
    match backend {
        DbBackend::MySql => format!("(i DIV {by})"),
        _ => format!("(i / {by})"),
    }
}

fn literal(backend: DbBackend, id: Uuid) -> String {
    match backend {
        DbBackend::Postgres => format!("CAST('{id}' AS uuid)"),
        _ => format!("unhex('{}')", id.simple()),
    }
}

/// Inserts a row for each number `i`, in portions that a transaction log holds well.
async fn fill(
    database: &DatabaseConnection,
    into: &str,
    numbers: Range<u64>,
    values: &str,
) -> Outcome {
    const PORTION: u64 = 100_000;
    // PostgreSQL reads JSON only where it is told what the text is, and counts in 32 bits unless it is told to.
    let (values, long) = if database.get_database_backend() == DbBackend::Postgres {
        let values = values
            .replace("'{}'", "CAST('{}' AS json)")
            .replace("'[\"80/tcp\"]'", "CAST('[\"80/tcp\"]' AS json)");
        (values, "::bigint")
    } else {
        (values.to_owned(), "")
    };
    let mut from = numbers.start;
    while from < numbers.end {
        let to = numbers.end.min(from + PORTION);
        let mut sql = format!("INSERT INTO {into} ");
        write!(
            sql,
            "WITH RECURSIVE n(i) AS (SELECT {from}{long} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to}) SELECT {values} FROM n"
        )?;
        run(database, &sql).await?;
        from = to;
    }
    Ok(())
}

async fn run(database: &DatabaseConnection, sql: &str) -> Outcome {
    database
        .execute_unprepared(sql)
        .await
        .map_err(|error| format!("{error}: {sql:.300}"))?;
    Ok(())
}
