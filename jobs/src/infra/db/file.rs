//! Where an SQLite database lives.

use std::path::PathBuf;

use sea_orm::sqlx::sqlite::SqliteConnectOptions;

/// The files of the database that a URL names: the database itself and what SQLite puts beside it, whether they are there or
/// not. None for a database of a server, or in memory.
pub fn files(url: &str) -> Vec<PathBuf> {
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !url.starts_with("sqlite:") || in_memory {
        return Vec::new();
    }
    let Ok(options) = url.parse::<SqliteConnectOptions>() else {
        return Vec::new();
    };
    let database = options.get_filename().as_os_str();
    let beside = ["", "-wal", "-shm", "-journal"].map(|end| {
        let mut file = database.to_owned();
        file.push(end);
        PathBuf::from(file)
    });
    beside.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_an_sqlite_url_are_known() {
        for (url, file) in [
            ("sqlite:///data/w.db?mode=rwc", "/data/w.db"),
            ("sqlite://w.db", "w.db"),
            ("sqlite:w.db?mode=rwc", "w.db"),
            ("sqlite:///data/w%3F.db", "/data/w?.db"),
        ] {
            let files = files(url);
            assert_eq!(files[0], PathBuf::from(file), "{url}");
            assert_eq!(files[1], PathBuf::from(format!("{file}-wal")), "{url}");
        }
        for none in [
            "sqlite::memory:",
            "sqlite://x?mode=memory",
            "postgres://h/d",
        ] {
            assert!(files(none).is_empty(), "{none}");
        }
    }
}
