//! The servers that `make test` started, and what is kept on them.

use rand::RngCore as _;
use sea_orm::{ConnectionTrait as _, Database};
use uuid::Uuid;
use wharfinger_jobs::testing::image::layer;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// `unix://…` of the first (1) or second (2) Docker engine.
pub(crate) fn engine(number: usize) -> String {
    variable(&format!("WHARFINGER_TEST_DOCKER_HOST_{number}"))
}

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    MariaDb,
}

impl Server {
    /// The URL of a new, empty database on it.
    pub(crate) async fn database(self) -> String {
        let url = variable(match self {
            Self::Postgres => "WHARFINGER_TEST_POSTGRES_URL",
            Self::MariaDb => "WHARFINGER_TEST_MYSQL_URL",
        });
        database_on(&url).await
    }
}

/// The URL of a new, empty database beside the one at `url`.
pub(crate) async fn database_on(url: &str) -> String {
    let name = format!("e2e_{}", Uuid::new_v4().simple());
    let server = Database::connect(url).await.unwrap();
    let create = format!("CREATE DATABASE {name}");
    server.execute_unprepared(&create).await.unwrap();
    server.close().await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// An image name that no other test uses.
pub(crate) fn unique_name() -> String {
    format!("e2e-{}", Uuid::new_v4().simple())
}

/// A layer of one file of so many bytes that nothing can compress, and its size unpacked.
pub(crate) fn random_layer(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    layer("content", &content)
}
