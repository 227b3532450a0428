//! Checks of values that their types cannot make.

use std::{fmt::Display, net::IpAddr, slice, time::Duration};

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;
use wharfinger_entity::CleanText;
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::infra::db::LEAST_CONNECTIONS;
use wharfinger_jobs::registry::RegistryRules;
use wharfinger_jobs::settings::Secret;
use wharfinger_jobs::sweep_images::SweepSchedule;

use super::{Config, ConfigError, layers::Layers};
use crate::http::AllowedOrigins;

const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Most characters of a host's name: workers add their process to it, and the result has at most 255.
const HOST_NAME: usize = 230;

const DATABASES: &[&str] = &["sqlite", "postgres", "postgresql", "mysql", "mariadb"];
const REDIS: &[&str] = &["redis", "rediss", "redis+unix", "unix"];
const COLLECTORS: &[&str] = &["http", "https"];

/// Checks values that can be read but cannot work. Fails with the first of them.
pub(super) fn check(config: &Config, layers: &Layers) -> Result<(), ConfigError> {
    let check = Check { layers };
    check.addresses(config)?;
    check.logins(config)?;
    check.numbers(config)?;
    check.durations(config)?;
    check.texts(config)
}

struct Check<'a> {
    layers: &'a Layers,
}

impl Check<'_> {
    fn addresses(&self, config: &Config) -> Result<(), ConfigError> {
        let database = config.database_url.as_ref().map(Secret::expose);
        let redis = config.redis_url.as_ref().map(Secret::expose);
        self.url("database_url", database, DATABASES)?;
        self.url("redis_url", redis, REDIS)?;
        let collector = config.traces.endpoint.as_ref().map(Secret::expose);
        self.url("traces.endpoint", collector, COLLECTORS)?;
        let docker_host = config.docker_host.as_deref();
        self.require(
            Engine::connect(docker_host).is_ok(),
            "docker_host",
            format!("{:?}", docker_host.unwrap_or_default()),
            "a URL that begins with unix:, tcp:, http: and has no path after a host, such as \
             unix:///var/run/docker.sock or tcp://127.0.0.1:2375",
        )
    }

    fn logins(&self, config: &Config) -> Result<(), ConfigError> {
        self.require(
            config.secret_key.is_none() || config.secret_key_file.is_none(),
            "secret_key_file",
            "a file beside secret_key",
            "possible: set one of the two",
        )?;
        let tls = &config.tls;
        for (key, here, there) in [
            ("tls.key_file", &tls.key_file, &tls.cert_file),
            ("tls.cert_file", &tls.cert_file, &tls.key_file),
        ] {
            self.require(
                here.is_some() || there.is_none(),
                key,
                "\"\"",
                "enough: set tls.cert_file and tls.key_file, or neither",
            )?;
        }
        self.require(
            config.admin.name.is_none() || config.admin.password_file.is_some(),
            "admin.password_file",
            "\"\"",
            "enough where admin.name is set: name a file with the password",
        )
    }

    fn numbers(&self, config: &Config) -> Result<(), ConfigError> {
        let limits = &config.limits;
        for (key, found, least) in [
            ("retry.max_attempts", config.retry.max_attempts.into(), 1),
            ("worker.concurrency", config.worker.concurrency.into(), 1),
            ("limits.request_body", limits.request_body as u64, 1),
            (
                "database.connections",
                config.database.connections.into(),
                LEAST_CONNECTIONS.into(),
            ),
            // With only one file, a restart would begin by removing today's.
            ("log_files.keep", config.log_files.keep as u64, 2),
            (
                "limits.operations_per_socket",
                limits.operations_per_socket as u64,
                1,
            ),
        ] {
            self.require(found >= least, key, found, &format!("at least {least}"))?;
        }
        Ok(())
    }

    fn durations(&self, config: &Config) -> Result<(), ConfigError> {
        let Config {
            retry,
            worker,
            host,
            websocket,
            ..
        } = config;
        for (key, found, least) in [
            ("retry.base_delay", retry.base_delay, MOMENT),
            ("retry.max_delay", retry.max_delay, retry.base_delay),
            ("worker.lease", worker.lease, SECOND),
            ("worker.stall_timeout", worker.stall_timeout, MOMENT),
            ("worker.pull_timeout", worker.pull_timeout, MOMENT),
            ("host.offline_after", host.offline_after, SECOND),
            ("host.lost_after", host.lost_after, host.offline_after),
            ("reconcile.interval", config.reconcile.interval, MOMENT),
            ("sessions.lifetime", config.sessions.lifetime, MINUTE),
            ("websocket.init_timeout", websocket.init_timeout, MOMENT),
            ("websocket.keep_alive", websocket.keep_alive, MOMENT),
            ("websocket.send_timeout", websocket.send_timeout, MOMENT),
            ("sse.keep_alive", config.sse.keep_alive, MOMENT),
        ] {
            let expected = format!("at least {}", humantime::format_duration(least));
            let shown = humantime::format_duration(found);
            self.require(found >= least, key, shown, &expected)?;
        }
        Ok(())
    }

    fn texts(&self, config: &Config) -> Result<(), ConfigError> {
        self.require(
            CleanText::<HOST_NAME>::exact(&config.host_name).is_some(),
            "host_name",
            format!("{:?}", config.host_name),
            &format!("a name of at most {HOST_NAME} characters that people can see"),
        )?;
        let registries = &config.registries;
        for (key, patterns) in [
            ("registries.allow", &registries.allow),
            ("registries.deny", &registries.deny),
        ] {
            self.each(
                key,
                patterns,
                |pattern| RegistryRules::parse(slice::from_ref(pattern), &[]).is_ok(),
                "a host[:port] pattern such as registry.example:5000 or *.example",
            )?;
        }
        self.each(
            "trusted_proxies",
            &config.trusted_proxies,
            |text| network(text).is_some(),
            "addresses or networks such as 10.0.0.7 or 10.0.0.0/8",
        )?;
        let strange = AllowedOrigins::parse(&config.cors.allow_origins).err();
        self.require(
            strange.is_none(),
            "cors.allow_origins",
            format!("{:?}", strange.as_deref().unwrap_or_default()),
            "exact origins such as https://console.example or http://localhost:3000",
        )?;
        self.require(
            EnvFilter::try_new(&config.log).is_ok(),
            "log",
            format!("{:?}", config.log),
            "directives such as info or info,wharfinger_jobs=debug",
        )?;
        let Some(schedule) = &config.sweep.schedule else {
            return Ok(());
        };
        self.require(
            schedule.parse::<SweepSchedule>().is_ok(),
            "sweep.schedule",
            format!("{schedule:?}"),
            "a cron expression of five fields such as 30 23 * * *",
        )
    }

    /// Fails for the first of several texts that is not right.
    fn each(
        &self,
        key: &str,
        texts: &[String],
        right: impl Fn(&String) -> bool,
        expected: &str,
    ) -> Result<(), ConfigError> {
        let wrong = texts.iter().find(|text| !right(text));
        let found = format!("{:?}", wrong.map_or("", String::as_str));
        self.require(wrong.is_none(), key, found, expected)
    }

    /// Checks the scheme only: `SQLite`'s `sqlite::memory:` and `sqlite:relative.db` are no proper URLs.
    fn url(&self, key: &str, text: Option<&str>, schemes: &[&str]) -> Result<(), ConfigError> {
        let Some(text) = text else { return Ok(()) };
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let well_formed = scheme == Some("sqlite") || Url::parse(text).is_ok();
        let known = scheme.is_some_and(|scheme| schemes.contains(&scheme));
        let expected = format!("a URL that begins with {}:", schemes.join(":, "));
        self.require(well_formed && known, key, format!("{text:?}"), &expected)
    }

    fn require(
        &self,
        right: bool,
        key: &str,
        found: impl Display,
        expected: &str,
    ) -> Result<(), ConfigError> {
        if right {
            Ok(())
        } else {
            Err(ConfigError::invalid(self.layers, key, found, expected))
        }
    }
}

/// Parses an address or a network.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok();
    network.or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}
