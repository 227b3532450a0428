//! The bare minimum: axum handlers that run Wharfinger's own statements through sqlx and write their rows as JSON. It
//! looks the token up as Wharfinger does, knows no GraphQL, and reads of the rows only what it writes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::DbBackend;
use sea_orm::sqlx::{self, Row as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{Credits, Timestamp};
use wharfinger_jobs::accounts;
use wharfinger_jobs::queries::images::{self, ImageOrder, With};
use wharfinger_jobs::queries::page::PageArgs;

use crate::Outcome;
use crate::environment::variable;

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize)]
struct Images {
    images: Nodes,
}

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Image>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    id: String,
    reference: String,
    size: i64,
    charge: String,
    visibility: String,
    pulled_at: String,
    host: Host,
}

#[derive(Serialize)]
struct Host {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct Balance {
    balance: Amounts,
}

#[derive(Serialize)]
struct Amounts {
    available: String,
    held: String,
    total: String,
}

/// The texts of the two statements. They last as long as the process.
#[derive(Clone, Copy)]
struct Statements {
    user: &'static str,
    images: &'static str,
}

/// Serves until it is killed.
pub(crate) async fn serve() -> Outcome {
    let url = variable("DATABASE_URL")?;
    let app = if url.starts_with("sqlite:") {
        sqlite::app(&url, statements(DbBackend::Sqlite)?).await?
    } else {
        postgres::app(&url, statements(DbBackend::Postgres)?).await?
    };
    let address = SocketAddr::from(([127, 0, 0, 1], variable("PORT")?.parse()?));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}

fn statements(backend: DbBackend) -> Outcome<Statements> {
    let with = With {
        engine: false,
        host: true,
    };
    let page = PageArgs {
        first: Some(20),
        ..PageArgs::default()
    };
    let nobody = Uuid::nil();
    let images = images::statement(backend, nobody, ImageOrder::default(), &page, with)?;
    Ok(Statements {
        user: accounts::statement(backend, "").sql.leak(),
        images: images.ok_or("no statement")?.sql.leak(),
    })
}

fn token_hash(headers: &HeaderMap) -> Result<String, StatusCode> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(hex::encode(Sha256::digest(token)))
}

fn id(kind: &str, id: Uuid) -> String {
    format!("{kind}_{}", id.simple())
}

fn credits(micro: i64) -> String {
    Credits::from_micro(micro).to_string()
}

fn instant(micros: i64) -> String {
    DateTime::<Utc>::from(Timestamp::from_micros(micros))
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The handlers over one kind of database: sqlx has a type for each.
macro_rules! handlers {
    ($module:ident, $pool:ty, $row:ty, $connect:expr) => {
        mod $module {
            use super::*;

            struct Shared {
                pool: $pool,
                statements: Statements,
            }

            pub(super) async fn app(url: &str, statements: Statements) -> Outcome<Router> {
                let pool = $connect(url).await?;
                let shared = Arc::new(Shared { pool, statements });
                Ok(Router::new()
                    .route("/readyz", get(async || "ready"))
                    .route("/images", get(images))
                    .route("/balance", get(balance))
                    .with_state(shared))
            }

            async fn user(shared: &Shared, headers: &HeaderMap) -> Result<$row, StatusCode> {
                let row = sqlx::query(shared.statements.user)
                    .bind(token_hash(headers)?)
                    .fetch_optional(&shared.pool)
                    .await
                    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
                    .ok_or(StatusCode::UNAUTHORIZED)?;
                let now = Timestamp::from(Utc::now()).micros();
                let expires: Option<i64> = row.get("expires_at");
                let good =
                    expires.is_none_or(|end| end > now) && row.get::<&str, _>("status") == "ACTIVE";
                if good {
                    Ok(row)
                } else {
                    Err(StatusCode::UNAUTHORIZED)
                }
            }

            async fn balance(
                State(shared): State<Arc<Shared>>,
                headers: HeaderMap,
            ) -> Result<Json<Data<Balance>>, StatusCode> {
                let user = user(&shared, &headers).await?;
                let (total, held): (i64, i64) = (user.get("total"), user.get("held"));
                let balance = Amounts {
                    available: credits(total - held),
                    held: credits(held),
                    total: credits(total),
                };
                Ok(Json(Data {
                    data: Balance { balance },
                }))
            }

            async fn images(
                State(shared): State<Arc<Shared>>,
                headers: HeaderMap,
            ) -> Result<Json<Data<Images>>, StatusCode> {
                let user = user(&shared, &headers).await?;
                let rows = sqlx::query(shared.statements.images)
                    .bind(user.get::<Uuid, _>("user_id"))
                    .bind("HELD")
                    .bind(Uuid::nil())
                    .bind("HELD")
                    .fetch_all(&shared.pool)
                    .await
                    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
                // By place: `id` and `name` are those of two tables.
                let nodes = rows.iter().take(20).map(image).collect();
                Ok(Json(Data {
                    data: Images {
                        images: Nodes { nodes },
                    },
                }))
            }

            fn image(row: &$row) -> Image {
                Image {
                    id: id("image", row.get(0)),
                    reference: row.get("reference"),
                    size: row.get("size"),
                    charge: credits(row.get("charge")),
                    visibility: row.get("visibility"),
                    pulled_at: instant(row.get("pulled_at")),
                    host: Host {
                        id: id("host", row.get("host_id")),
                        name: row.get("name"),
                    },
                }
            }
        }
    };
}

handlers!(
    sqlite,
    sqlx::SqlitePool,
    sqlx::sqlite::SqliteRow,
    |url: &str| {
        let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>();
        async move {
            let options = options?.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
            // As many as Wharfinger has for reading. A file needs no test before each use.
            sqlx::sqlite::SqlitePoolOptions::new()
                .max_connections(4)
                .test_before_acquire(false)
                .connect_with(options)
                .await
        }
    }
);

handlers!(
    postgres,
    sqlx::PgPool,
    sqlx::postgres::PgRow,
    |url: &str| {
        let url = url.to_owned();
        async move {
            // Wharfinger has twelve for look-ups and pages, and twelve for everything else. It tests no connection that was used
            // within the last second.
            sqlx::postgres::PgPoolOptions::new()
                .max_connections(16)
                .test_before_acquire(false)
                .connect(&url)
                .await
        }
    }
);
