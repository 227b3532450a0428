//! The settings: what wins, what is refused, and in which words.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use figment::{
    Provider,
    providers::{Format, Serialized, Toml},
    value::{Dict, Value},
};
use tempfile::TempDir;
use wharfinger::config::{Config, ConfigError, DEFAULTS, Rotation};

fn no_flags() -> impl Provider {
    Serialized::defaults(Dict::new())
}

fn with_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(None, owned, &no_flags())
}

/// A file with this text, and the folder that keeps it.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wharfinger.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn with_file(text: &str) -> Result<Config, ConfigError> {
    let (_folder, path) = file(text);
    Config::from_sources(Some(&path), [], &no_flags())
}

fn said(result: Result<Config, ConfigError>) -> String {
    let text = result.expect_err("this should be refused").to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    text
}

/// Fails unless settings are refused in a line that begins like this and has these parts.
fn says(result: Result<Config, ConfigError>, start: &str, parts: &[&str]) {
    let text = said(result);
    assert!(text.starts_with(start), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = with_environment(&[("HOME", "/home/ada")]).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    let data_dir = "/home/ada/.local/share/wharfinger";
    assert_eq!(config.data_dir, PathBuf::from(data_dir));
    let database = format!("sqlite://{data_dir}/wharfinger.db?mode=rwc");
    assert_eq!(config.database_url().expose(), database);
    assert!(!config.host_name.is_empty());
    assert!(config.redis_url.is_none() && config.docker_host.is_none());
    assert!(config.secret_key.is_none() && config.secret_key_file.is_none());
    assert_eq!(config.registries.allow, ["*"]);
    assert!(config.registries.deny.is_empty());
    assert_eq!(config.credits.initial.to_string(), "1000");
    assert_eq!(config.credits.minimum_to_pull.to_string(), "300");
    assert_eq!(config.retry.max_attempts, 5);
    assert_eq!(config.retry.base_delay, seconds(2));
    assert_eq!(config.retry.max_delay, seconds(300));
    assert_eq!(config.retry.rate_limit_patience, seconds(6 * 3600));
    assert_eq!(config.worker.listen.unwrap().to_string(), "127.0.0.1:8082");
    assert_eq!(config.worker.lease, seconds(15));
    assert_eq!(config.worker.concurrency, 4);
    assert_eq!(config.worker.stall_timeout, seconds(60));
    assert_eq!(config.worker.pull_timeout, seconds(1800));
    assert_eq!(config.worker.grace, seconds(20));
    assert_eq!(config.host.offline_after, seconds(30));
    assert_eq!(config.host.lost_after, seconds(86400));
    assert_eq!(config.reconcile.interval, seconds(30));
    assert_eq!(config.sessions.lifetime, seconds(30 * 86400));
    assert!(config.trusted_proxies.is_empty());
    assert!(config.cors.allow_origins.is_empty());
    assert_eq!(config.board.listen.unwrap().to_string(), "127.0.0.1:8081");
    assert!(config.admin.name.is_none() && config.admin.password_file.is_none());
    assert_eq!(config.sweep.schedule, None);
    assert_eq!(config.sweep.catch_up, seconds(6 * 3600));
    assert_eq!(config.database.connections, 20);
    assert_eq!(config.limits.live_jobs_per_user, 20);
    assert_eq!(config.limits.pulls_per_hour_per_user, 120);
    assert_eq!(config.limits.requests_per_second, 50);
    assert_eq!(config.limits.request_time, seconds(30));
}

/// Every key with dots, in text.
fn keys(prefix: &str, dict: &Dict, into: &mut BTreeSet<String>) {
    for (name, value) in dict {
        match value {
            Value::Dict(_, inner) => keys(&format!("{prefix}{name}."), inner, into),
            _ => {
                into.insert(format!("{prefix}{name}"));
            }
        }
    }
}

/// `deny_unknown_fields` refuses a key of the file that the struct lacks; a field without its key would be missing.
/// That leaves keys that could be left out without anybody noticing, so each is taken away once.
#[test]
fn default_toml_holds_exactly_the_fields_of_the_struct() {
    let defaults: Dict = Toml::from_str(DEFAULTS).unwrap();
    let mut all = BTreeSet::new();
    keys("", &defaults, &mut all);
    assert!(all.len() > 30);
    let parse = |dict: &Dict| {
        figment::Figment::from(Serialized::defaults(dict))
            .extract_lossy::<Config>()
            .is_ok()
    };
    assert!(parse(&defaults));
    for key in &all {
        let mut without = defaults.clone();
        match key.split_once('.') {
            None => drop(without.remove(key)),
            Some((section, name)) => {
                let Some(Value::Dict(_, inner)) = without.get_mut(section) else {
                    panic!("{key}")
                };
                inner.remove(name);
            }
        }
        assert!(!parse(&without), "{key} is not needed by the struct");
    }
    let mut more = defaults;
    more.insert("more".to_owned(), Value::from(1));
    assert!(!parse(&more));
}

#[test]
fn later_sources_win() {
    let text =
        "host_name = \"file\"\nlog = \"debug\"\n[retry]\nmax_attempts = 2\nbase_delay = \"1s\"";
    let (_folder, path) = file(text);
    let environment = [
        ("WHARFINGER_CONFIG", path.to_str().unwrap()),
        ("WHARFINGER_HOST_NAME", "environment"),
        ("WHARFINGER_RETRY__MAX_ATTEMPTS", "3"),
    ];
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Serialized::default("retry.max_attempts", 4);
    let config = Config::from_sources(None, owned, &flags).unwrap();
    assert_eq!(config.log, "debug");
    assert_eq!(config.host_name, "environment");
    assert_eq!(config.retry.max_attempts, 4);
    assert_eq!(config.retry.base_delay, Duration::from_secs(1));
}

#[test]
fn everything_can_come_from_the_environment() {
    let mut all = BTreeSet::new();
    keys("", &Toml::from_str::<Dict>(DEFAULTS).unwrap(), &mut all);
    let value = |key: &str| match key {
        "listen" | "worker.listen" | "board.listen" | "metrics.listen" => "0.0.0.0:9000",
        "database_url" => "postgres://ada:pw@db/wharf",
        "redis_url" => "redis://:pw@cache/1",
        "docker_host" => "unix:///run/docker.sock",
        "secret_key_file" => "",
        "registries.allow" | "registries.deny" => "127.0.0.1:*, ghcr.io,",
        "cors.allow_origins" => "https://a.example, http://localhost:3000",
        "trusted_proxies" => "10.0.0.7, 2001:db8::/32",
        "sweep.schedule" => "30 23 * * *",
        "worker.labels" => "disk=ssd,room=b12",
        "credits.initial" | "credits.minimum_to_pull" => "12.5",
        "retry.max_attempts" | "worker.concurrency" | "database.connections" => "7",
        "traces.endpoint" => "http://collector:4318",
        "log_files.rotation" => "hourly",
        "metrics.per_user" | "metrics.per_image" | "limits.introspection" => "true",
        "limits.request_time" => "90s",
        "persisted_queries.entries"
        | "persisted_queries.bytes"
        | "compression.min_size"
        | "log_files.keep"
        | "metrics.most_values" => "9",
        key if key.starts_with("limits.") => "9",
        key if key.contains('.') && !key.starts_with("admin.") => "90s",
        _ => "1234",
    };
    let variables = all.iter().map(|key| {
        let name = format!("WHARFINGER_{}", key.replace('.', "__").to_uppercase());
        (name, value(key).to_owned())
    });
    let config = Config::from_sources(None, variables, &no_flags()).unwrap();
    assert_eq!(config.registries.allow, ["127.0.0.1:*", "ghcr.io"]);
    assert_eq!(config.host_name, "1234");
    assert_eq!(config.credits.initial.to_string(), "12.5");
    assert_eq!(config.secret_key.unwrap().expose(), "1234");
    assert_eq!(config.worker.lease, Duration::from_secs(90));

    let usual = with_environment(&[
        ("DATABASE_URL", "mysql://db/wharf"),
        ("REDIS_URL", "redis://cache"),
        ("DOCKER_HOST", "tcp://127.0.0.1:2375"),
        ("WHARFINGER_BOARD__LISTEN", ""),
        ("WHARFINGER_REGISTRIES__ALLOW", ""),
    ])
    .unwrap();
    assert_eq!(usual.database_url().expose(), "mysql://db/wharf");
    assert_eq!(usual.redis_url.unwrap().expose(), "redis://cache");
    assert_eq!(usual.docker_host.unwrap(), "tcp://127.0.0.1:2375");
    assert!(usual.board.listen.is_none() && usual.registries.allow.is_empty());
}

#[test]
fn variables_that_are_no_settings_are_let_be() {
    let variables = [
        ("WHARFINGER_TEST_REDIS", "x"),
        ("WHARFINGER_URL", "x"),
        ("WHARFINGER_TOKEN", "x"),
        ("PATH", "x"),
    ];
    assert!(with_environment(&variables).is_ok());
}

#[test]
fn an_unknown_key_is_named_with_its_source_and_what_is_known() {
    let text = said(with_environment(&[("WHARFINGER_RETRY__ATTEMPTS", "3")]));
    assert_eq!(
        text,
        "unknown setting retry.attempts from WHARFINGER_RETRY__ATTEMPTS in the environment; \
         known there: base_delay, max_attempts, max_delay, rate_limit_patience"
    );
    let misspelt = with_file("listne = \"127.0.0.1:1\"");
    let start = "unknown setting listne in /";
    says(misspelt, start, &["known there: ", "listen"]);
    let inside = with_file("[listen]\nport = 1");
    says(inside, "unknown setting listen.port in /", &[]);
    let flags = Serialized::default("worker.threads", 1);
    let flag = Config::from_sources(None, [], &flags);
    says(flag, "unknown setting worker.threads from a flag;", &[]);
    for (variable, key) in [
        ("WHARFINGER_LISTEN____X", "listen._"),
        ("WHARFINGER_RETRY____MAX_ATTEMPTS", "retry._"),
    ] {
        let misspelt = with_environment(&[(variable, "3")]);
        says(
            misspelt,
            &format!("unknown setting {key} from {variable}"),
            &[],
        );
    }
    let section = with_environment(&[("WHARFINGER_RETRY", "3")]);
    let start = "bad value of retry from WHARFINGER_RETRY";
    says(section, start, &["a section; it has base_delay"]);
}

/// Variables, values that are no good for them, and what is said of each.
const BAD: &str = r#"
WHARFINGER_LISTEN | 8080 | "8080" is not an address and port such as 127.0.0.1:8080
WHARFINGER_RETRY__BASE_DELAY | soon | "soon" is not a duration such as 500ms, 15s or 5m
WHARFINGER_RETRY__MAX_ATTEMPTS | many | "many" is not a whole number from 0 on
WHARFINGER_RETRY__MAX_ATTEMPTS | -1 | -1 is not a whole number from 0 on
WHARFINGER_CREDITS__INITIAL | 1e3 | "1e3" is not an amount such as 300 or 0.5
WHARFINGER_RETRY__MAX_ATTEMPTS | 0 | 0 is not at least 1
WHARFINGER_RETRY__MAX_DELAY | 1s | 1s is not at least 2s
WHARFINGER_WORKER__LEASE | 500ms | 500ms is not at least 1s
WHARFINGER_WORKER__LEASE | 0s | 0s is not at least 1s
WHARFINGER_WORKER__CONCURRENCY | 0 | 0 is not at least 1
WHARFINGER_DATABASE__CONNECTIONS | 3 | 3 is not at least 4
WHARFINGER_HOST__LOST_AFTER | 29s | 29s is not at least 30s
WHARFINGER_LIMITS__REQUEST_BODY | 0 | 0 is not at least 1
WHARFINGER_SWEEP__SCHEDULE | daily | "daily" is not a cron expression of five fields
WHARFINGER_REGISTRIES__ALLOW | https://ghcr.io | "https://ghcr.io" is not a host[:port] pattern
WHARFINGER_REGISTRIES__ALLOW | a b | "a b" is not a host[:port] pattern
WHARFINGER_REGISTRIES__ALLOW | ghcr.io:99999 | "ghcr.io:99999" is not a host[:port] pattern
WHARFINGER_REGISTRIES__DENY | ghcr.io,a.*.example | "a.*.example" is not a host[:port] pattern
WHARFINGER_CORS__ALLOW_ORIGINS | https://a.example,* | "*" is not exact origins such as https://console.example
DOCKER_HOST | /run/docker.sock | "/run/docker.sock" is not a URL that begins with unix:
DOCKER_HOST | npipe:////./pipe/docker_engine | "npipe:////./pipe/docker_engine" is not a URL
DOCKER_HOST | tcp://docker/path | "tcp://docker/path" is not a URL
WHARFINGER_LOG | info,wharfinger=loud | "info,wharfinger=loud" is not directives such as info
"#;

#[test]
fn a_bad_value_is_named_with_its_source_and_what_would_be_right() {
    let is_refused = |variable: &str, value: &str, expected: &str| {
        let key = variable.strip_prefix("WHARFINGER_").unwrap_or(variable);
        let key = key.replace("__", ".").to_lowercase();
        let text = said(with_environment(&[(variable, value)]));
        let start = format!("bad value of {key} from {variable} in the environment: {expected}");
        assert!(text.starts_with(&start), "{text}\n{start}");
    };
    for row in BAD.trim().lines() {
        let columns: Vec<_> = row.split(" | ").collect();
        is_refused(columns[0], columns[1], columns[2]);
    }
    let long = "h".repeat(231);
    let expected = format!("{long:?} is not a name of at most 230 characters");
    is_refused("WHARFINGER_HOST_NAME", &long, &expected);
    let number = with_file("[worker]\nconcurrency = \"x\"");
    says(number, "bad value of worker.concurrency in /", &[]);
    let list = with_file("[registries]\nallow = 5");
    let start = "bad value of registries.allow in /";
    says(list, start, &["a list such as"]);
    let alone = with_environment(&[("WHARFINGER_ADMIN__NAME", "ada")]);
    says(alone, "bad value of admin.password_file by default", &[]);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let missing = PathBuf::from("/nowhere/wharfinger.toml");
    let missing = Config::from_sources(Some(&missing), [], &no_flags());
    let start = "cannot read the settings file /nowhere/wharfinger.toml: No such file";
    says(missing, start, &[]);
    let broken = with_file("log = \"info\"\nsecret_key = = \"hunter2\"");
    says(broken, "", &["is not TOML", "line 2"]);
}

#[test]
fn secrets_never_print() {
    let secrets = [
        ("DATABASE_URL", "postgres://ada:hunter2@db/wharf"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("WHARFINGER_SECRET_KEY", "hunter2"),
    ];
    let config = with_environment(&secrets).unwrap();
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    for (variable, value) in [("DATABASE_URL", "db:hunter2"), ("REDIS_URL", "hunter2")] {
        let config = with_environment(&[(variable, value)]);
        says(config, "", &[variable, "a URL that begins with"]);
    }
    let list = with_file("secret_key = [\"hunter2\"]");
    says(list, "bad value of secret_key in /", &[]);
}

#[test]
fn traces_metrics_and_log_files_are_off_or_bounded_by_default() {
    let config = with_environment(&[]).unwrap();
    assert!(config.traces.endpoint.is_none() && config.traces.service_name.is_none());
    assert!(!config.metrics.per_user && !config.metrics.per_image);
    assert_eq!(config.metrics.most_values, 100);
    assert_eq!(config.log_files.keep, 7);
    assert_eq!(config.log_files.rotation, Rotation::Daily);

    let config = with_environment(&[
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:hunter2@collector:4318/",
        ),
        ("OTEL_SERVICE_NAME", "wharf"),
        ("WHARFINGER_METRICS__PER_USER", "true"),
        ("WHARFINGER_LOG_FILES__ROTATION", "never"),
    ])
    .unwrap();
    assert!(config.metrics.per_user);
    assert_eq!(config.traces.service_name.as_deref(), Some("wharf"));
    assert_eq!(config.log_files.rotation, Rotation::Never);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_is_repeated_in_no_error_whichever_setting_it_is_in() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://me:hunter2@collector"),
        ("DOCKER_HOST", "ssh://me:hunter2@host"),
        ("WHARFINGER_REGISTRIES__ALLOW", "me:hunter2@registry"),
        ("WHARFINGER_LISTEN", "me:hunter2@127.0.0.1:80"),
        (
            "WHARFINGER_CORS__ALLOW_ORIGINS",
            "https://me:hunter2@console",
        ),
    ] {
        said(with_environment(&[(name, value)]));
    }
    for keep in ["0", "1", "-1"] {
        let config = with_environment(&[("WHARFINGER_LOG_FILES__KEEP", keep)]);
        says(config, "", &["log_files.keep"]);
    }
}
