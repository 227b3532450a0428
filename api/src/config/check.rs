//! What the type of a value cannot say.

use std::time::Duration;

use url::Url;

use super::{Config, ConfigError, layers::Layers};

/// Refuses values that can be read but cannot work.
pub(super) fn check(config: &Config, layers: &Layers) -> Result<(), ConfigError> {
    let require = |right: bool, key: &str, found: &dyn std::fmt::Display, expected: &str| {
        if right {
            Ok(())
        } else {
            Err(ConfigError::invalid(layers, key, found, expected))
        }
    };
    let at_least = |key: &str, found: Duration, least: Duration| {
        let expected = format!("at least {}", humantime::format_duration(least));
        require(
            found >= least,
            key,
            &humantime::format_duration(found),
            &expected,
        )
    };
    let positive = |key: &str, found: usize| require(found > 0, key, &found, "at least 1");
    let second = Duration::from_secs(1);
    let moment = Duration::from_millis(1);

    url(
        layers,
        "database_url",
        config.database_url.as_ref().map(|url| url.expose()),
        &["sqlite", "postgres", "postgresql", "mysql", "mariadb"],
    )?;
    url(
        layers,
        "redis_url",
        config.redis_url.as_ref().map(|url| url.expose()),
        &["redis", "rediss", "redis+unix", "unix"],
    )?;
    url(
        layers,
        "docker_host",
        config.docker_host.as_deref(),
        &["unix", "tcp", "http", "npipe"],
    )?;
    require(
        config.secret_key.is_none() || config.secret_key_file.is_none(),
        "secret_key_file",
        &"a file beside secret_key",
        "possible: set one of the two",
    )?;
    require(
        config.admin.name.is_none() || config.admin.password_file.is_some(),
        "admin.password_file",
        &"\"\"",
        "enough where admin.name is set: name a file with the password",
    )?;
    require(
        config.retry.max_attempts >= 1,
        "retry.max_attempts",
        &config.retry.max_attempts,
        "at least 1",
    )?;
    at_least("retry.base_delay", config.retry.base_delay, moment)?;
    at_least(
        "retry.max_delay",
        config.retry.max_delay,
        config.retry.base_delay,
    )?;
    at_least("worker.lease", config.worker.lease, second)?;
    require(
        config.worker.concurrency >= 1,
        "worker.concurrency",
        &config.worker.concurrency,
        "at least 1",
    )?;
    at_least("worker.stall_timeout", config.worker.stall_timeout, moment)?;
    at_least("worker.pull_timeout", config.worker.pull_timeout, moment)?;
    at_least("host.offline_after", config.host.offline_after, second)?;
    at_least(
        "host.lost_after",
        config.host.lost_after,
        config.host.offline_after,
    )?;
    at_least("reconcile.interval", config.reconcile.interval, moment)?;
    positive("limits.request_body", config.limits.request_body)?;
    positive(
        "limits.operations_per_socket",
        config.limits.operations_per_socket,
    )?;
    at_least(
        "websocket.init_timeout",
        config.websocket.init_timeout,
        moment,
    )?;
    at_least("websocket.keep_alive", config.websocket.keep_alive, moment)?;
    at_least(
        "websocket.send_timeout",
        config.websocket.send_timeout,
        moment,
    )?;
    for (key, patterns) in [
        ("registries.allow", &config.registries.allow),
        ("registries.deny", &config.registries.deny),
    ] {
        let bad = patterns
            .iter()
            .find(|pattern| pattern.contains(['/', '@']) || pattern.contains(char::is_whitespace));
        require(
            bad.is_none(),
            key,
            &format!("{:?}", bad.map_or("", String::as_str)),
            "a host[:port] pattern such as registry.example:5000 or *.example",
        )?;
    }
    if let Some(schedule) = &config.sweep.schedule {
        require(
            schedule.split_whitespace().count() == 5,
            "sweep.schedule",
            &format!("{schedule:?}"),
            "a cron expression of five fields such as 30 23 * * *",
        )?;
    }
    Ok(())
}

fn url(
    layers: &Layers,
    key: &str,
    text: Option<&str>,
    schemes: &[&str],
) -> Result<(), ConfigError> {
    let Some(text) = text else { return Ok(()) };
    // SQLite's `sqlite::memory:` and `sqlite:relative.db` are no proper URLs to every parser; the scheme is what counts.
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let well_formed = scheme == Some("sqlite") || Url::parse(text).is_ok();
    if well_formed && scheme.is_some_and(|scheme| schemes.contains(&scheme)) {
        return Ok(());
    }
    let expected = format!("a URL that begins with {}:", schemes.join(":, "));
    Err(ConfigError::invalid(
        layers,
        key,
        format!("{text:?}"),
        &expected,
    ))
}
