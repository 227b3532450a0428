//! An SQLite database on a disk that is full, and then has space again. The disk is a small tmpfs: mounting takes root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sea_orm::EntityTrait as _;
use tempfile::TempDir;
use uuid::Uuid;
use wharfinger_entity::{Role, user};
use wharfinger_jobs::accounts::{NewUser, create_user};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::infra::db::{Db, is_unavailable};

use super::support::in_time;

/// A file system of a few megabytes.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Self {
        let directory = TempDir::new().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .status();
        assert!(mount.unwrap().success(), "mounting a tmpfs takes root");
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.ballast()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmount = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmount.unwrap().success() || std::thread::panicking());
    }
}

/// Makes a user: its name where it was acknowledged.
async fn make(db: &Db) -> Result<String, ServiceError> {
    let new = NewUser {
        name: format!("u{}", Uuid::new_v4().simple()),
        role: Role::User,
        // Long, so that the log of the database grows quickly.
        password_hash: Some("x".repeat(4000)),
        credits: "1000".parse().unwrap(),
    };
    let now = Clock::system().now();
    create_user(db, &new, now).await.map(|user| user.name)
}

/// Several at once, as in life.
async fn make_some(db: &Db) -> Vec<Result<String, ServiceError>> {
    in_time("users", futures::future::join_all((0..8).map(|_| make(db)))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_acknowledges_is_stored_and_work_goes_on_with_space() {
    let disk = Disk::mount();
    let url = format!("sqlite:{}/w.db?mode=rwc", disk.path().display());
    let db = Db::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for made in make_some(&db).await {
        acknowledged.insert(made.unwrap());
    }
    for _ in 0..3 {
        disk.fill();
        let mut refused = 0;
        for _ in 0..40 {
            for made in make_some(&db).await {
                match made {
                    Ok(name) => drop(acknowledged.insert(name)),
                    Err(ServiceError::Database(error)) => {
                        assert!(is_unavailable(&error), "{error}");
                        refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            if refused > 20 {
                break;
            }
        }
        assert!(refused > 20, "the disk is not full");
        disk.free();
        for made in make_some(&db).await {
            acknowledged.insert(made.unwrap());
        }
    }
    // As a restart finds it.
    drop(db);
    let again = Db::connect(&url).await.unwrap();
    let users = user::Entity::find().all(again.read()).await.unwrap();
    let stored: BTreeSet<String> = users.into_iter().map(|user| user.name).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} acknowledged and not there", lost.len());
}
