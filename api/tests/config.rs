//! The settings: what wins, what is refused, and in which words.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should panic where it stands"
)]

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
    text
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = with_environment(&[("HOME", "/home/ada")]).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.data_dir,
        PathBuf::from("/home/ada/.local/share/wharfinger")
    );
    assert_eq!(
        config.database_url().expose(),
        "sqlite:///home/ada/.local/share/wharfinger/wharfinger.db?mode=rwc"
    );
    assert!(!config.host_name.is_empty());
    assert!(config.redis_url.is_none() && config.docker_host.is_none());
    assert!(config.secret_key.is_none() && config.secret_key_file.is_none());
    assert_eq!(
        (config.registries.allow, config.registries.deny),
        (vec!["*".to_owned()], vec![])
    );
    assert_eq!(
        (
            config.credits.initial.to_string(),
            config.credits.minimum_to_pull.to_string()
        ),
        ("1000".to_owned(), "300".to_owned())
    );
    assert_eq!(config.retry.max_attempts, 5);
    assert_eq!(
        (config.retry.base_delay, config.retry.max_delay),
        (seconds(2), seconds(300))
    );
    assert_eq!(config.retry.rate_limit_patience, seconds(6 * 3600));
    assert_eq!(config.worker.listen.unwrap().to_string(), "127.0.0.1:8082");
    assert_eq!(
        (config.worker.lease, config.worker.concurrency),
        (seconds(15), 4)
    );
    assert_eq!(
        (config.worker.stall_timeout, config.worker.pull_timeout),
        (seconds(60), seconds(1800))
    );
    assert_eq!(config.worker.grace, seconds(20));
    assert_eq!(
        (config.host.offline_after, config.host.lost_after),
        (seconds(30), seconds(86400))
    );
    assert_eq!(config.reconcile.interval, seconds(30));
    assert_eq!(config.sessions.lifetime, seconds(30 * 86400));
    assert!(config.trusted_proxies.is_empty());
    assert!(config.cors.allow_origins.is_empty());
    assert_eq!(config.board.listen.unwrap().to_string(), "127.0.0.1:8081");
    assert!(config.admin.name.is_none() && config.admin.password_file.is_none());
    assert_eq!(
        (config.sweep.schedule, config.sweep.catch_up),
        (None, seconds(6 * 3600))
    );
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
        assert!(
            !parse(&without),
            "{key} is in default.toml and not needed by the struct"
        );
    }
    let mut more = defaults;
    more.insert("more".to_owned(), Value::from(1));
    assert!(!parse(&more));
}

#[test]
fn later_sources_win() {
    let (_folder, path) = file(
        "host_name = \"file\"\nlog = \"debug\"\n[retry]\nmax_attempts = 2\nbase_delay = \"1s\"",
    );
    let environment = [
        ("WHARFINGER_CONFIG", path.to_str().unwrap()),
        ("WHARFINGER_HOST_NAME", "environment"),
        ("WHARFINGER_RETRY__MAX_ATTEMPTS", "3"),
    ];
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Serialized::default("retry.max_attempts", 4);
    let config = Config::from_sources(None, owned, &flags).unwrap();
    assert_eq!(
        (config.log.as_str(), config.host_name.as_str()),
        ("debug", "environment")
    );
    assert_eq!(
        (config.retry.max_attempts, config.retry.base_delay),
        (4, Duration::from_secs(1))
    );
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
    let text = said(with_file("listne = \"127.0.0.1:1\""));
    assert!(text.starts_with("unknown setting listne in /"), "{text}");
    assert!(
        text.contains("known there: ") && text.contains("listen"),
        "{text}"
    );
    let text = said(with_file("[listen]\nport = 1"));
    assert!(text.contains("unknown setting listen.port in /"), "{text}");
    let flags = Serialized::default("worker.threads", 1);
    let text = said(Config::from_sources(None, [], &flags));
    assert!(
        text.starts_with("unknown setting worker.threads from a flag;"),
        "{text}"
    );
    let text = said(with_environment(&[("WHARFINGER_RETRY", "3")]));
    assert!(
        text.contains("bad value of retry from WHARFINGER_RETRY"),
        "{text}"
    );
    assert!(text.contains("a section; it has base_delay"), "{text}");
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one table of everything that can be wrong"
)]
fn a_bad_value_is_named_with_its_source_and_what_would_be_right() {
    let long = "h".repeat(231);
    for (variable, value, key, expected) in [
        (
            "WHARFINGER_LISTEN",
            "8080",
            "listen",
            "\"8080\" is not an address and port such as 127.0.0.1:8080",
        ),
        (
            "WHARFINGER_RETRY__BASE_DELAY",
            "soon",
            "retry.base_delay",
            "\"soon\" is not a duration such as 500ms, 15s or 5m",
        ),
        (
            "WHARFINGER_RETRY__MAX_ATTEMPTS",
            "many",
            "retry.max_attempts",
            "\"many\" is not a whole number from 0 on",
        ),
        (
            "WHARFINGER_RETRY__MAX_ATTEMPTS",
            "-1",
            "retry.max_attempts",
            "-1 is not a whole number from 0 on",
        ),
        (
            "WHARFINGER_CREDITS__INITIAL",
            "1e3",
            "credits.initial",
            "\"1e3\" is not an amount such as 300 or 0.5",
        ),
        (
            "WHARFINGER_RETRY__MAX_ATTEMPTS",
            "0",
            "retry.max_attempts",
            "0 is not at least 1",
        ),
        (
            "WHARFINGER_RETRY__MAX_DELAY",
            "1s",
            "retry.max_delay",
            "1s is not at least 2s",
        ),
        (
            "WHARFINGER_WORKER__LEASE",
            "500ms",
            "worker.lease",
            "500ms is not at least 1s",
        ),
        (
            "WHARFINGER_WORKER__CONCURRENCY",
            "0",
            "worker.concurrency",
            "0 is not at least 1",
        ),
        (
            "WHARFINGER_DATABASE__CONNECTIONS",
            "3",
            "database.connections",
            "3 is not at least 4",
        ),
        (
            "WHARFINGER_HOST__LOST_AFTER",
            "29s",
            "host.lost_after",
            "29s is not at least 30s",
        ),
        (
            "WHARFINGER_LIMITS__REQUEST_BODY",
            "0",
            "limits.request_body",
            "0 is not at least 1",
        ),
        (
            "WHARFINGER_SWEEP__SCHEDULE",
            "daily",
            "sweep.schedule",
            "\"daily\" is not a cron expression of five fields",
        ),
        (
            "WHARFINGER_HOST_NAME",
            &long,
            "host_name",
            &format!("{long:?} is not a name of at most 230 characters"),
        ),
        (
            "WHARFINGER_REGISTRIES__ALLOW",
            "https://ghcr.io",
            "registries.allow",
            "\"https://ghcr.io\" is not a host[:port] pattern",
        ),
        (
            "WHARFINGER_CORS__ALLOW_ORIGINS",
            "https://a.example,*",
            "cors.allow_origins",
            "\"*\" is not exact origins such as https://console.example",
        ),
        (
            "WHARFINGER_REGISTRIES__DENY",
            "ghcr.io,a.*.example",
            "registries.deny",
            "\"a.*.example\" is not a host[:port] pattern",
        ),
        (
            "WHARFINGER_REGISTRIES__ALLOW",
            "ghcr.io:99999",
            "registries.allow",
            "\"ghcr.io:99999\" is not a host[:port] pattern",
        ),
        (
            "DOCKER_HOST",
            "/run/docker.sock",
            "docker_host",
            "\"/run/docker.sock\" is not a URL that begins with unix:",
        ),
        (
            "DOCKER_HOST",
            "npipe:////./pipe/docker_engine",
            "docker_host",
            "\"npipe:////./pipe/docker_engine\" is not a URL",
        ),
        (
            "DOCKER_HOST",
            "tcp://docker/path",
            "docker_host",
            "\"tcp://docker/path\" is not a URL",
        ),
        (
            "WHARFINGER_LOG",
            "info,wharfinger=loud",
            "log",
            "\"info,wharfinger=loud\" is not directives such as info",
        ),
    ] {
        let text = said(with_environment(&[(variable, value)]));
        let start = format!("bad value of {key} from {variable} in the environment: {expected}");
        assert!(text.starts_with(&start), "{text}\n{start}");
    }
    let text = said(with_file("[worker]\nconcurrency = \"x\""));
    assert!(
        text.starts_with("bad value of worker.concurrency in /"),
        "{text}"
    );
    let text = said(with_file("[registries]\nallow = 5"));
    assert!(
        text.contains("registries.allow in /") && text.contains("a list such as"),
        "{text}"
    );
    let text = said(with_environment(&[("WHARFINGER_ADMIN__NAME", "ada")]));
    assert!(
        text.starts_with("bad value of admin.password_file by default"),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let missing = PathBuf::from("/nowhere/wharfinger.toml");
    let text = said(Config::from_sources(Some(&missing), [], &no_flags()));
    assert!(
        text.starts_with("cannot read the settings file /nowhere/wharfinger.toml: No such file"),
        "{text}"
    );
    let text = said(with_file("log = \"info\"\nsecret_key = = \"hunter2\""));
    assert!(
        text.contains("is not TOML") && text.contains("line 2") && !text.contains("hunter2"),
        "{text}"
    );
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
        let text = said(with_environment(&[(variable, value)]));
        assert!(
            text.contains(variable)
                && text.contains("a URL that begins with")
                && !text.contains("hunter2"),
            "{text}"
        );
    }
    let text = said(with_file("secret_key = [\"hunter2\"]"));
    assert!(
        text.starts_with("bad value of secret_key in /") && !text.contains("hunter2"),
        "{text}"
    );
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
            "https://me:hunter2@console.example",
        ),
    ] {
        let text = said(with_environment(&[(name, value)]));
        assert!(!text.contains("hunter2"), "{text}");
    }
    for keep in ["0", "1", "-1"] {
        let text = said(with_environment(&[("WHARFINGER_LOG_FILES__KEEP", keep)]));
        assert!(text.contains("log_files.keep"), "{text}");
    }
}
