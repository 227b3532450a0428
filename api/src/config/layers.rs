//! The sources of settings, kept apart until each key was checked, so that errors can name the source.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Provider,
    providers::{Format, Serialized, Toml},
    util::nest,
    value::{Dict, Value},
};

use super::{
    DEFAULTS,
    error::{ConfigError, Origin},
};

const PREFIX: &str = "WHARFINGER_";
/// Variables with our prefix that are not settings: the client's, and those of the tests.
const NOT_SETTINGS: [&str; 4] = [
    "WHARFINGER_CONFIG",
    "WHARFINGER_URL",
    "WHARFINGER_TOKEN",
    "WHARFINGER_TOKEN_FILE",
];
const TEST_PREFIX: &str = "WHARFINGER_TEST_";
/// Settings with a name of their own in the environment.
const USUAL_NAMES: [(&str, &str); 5] = [
    ("DATABASE_URL", "database_url"),
    ("REDIS_URL", "redis_url"),
    ("DOCKER_HOST", "docker_host"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint"),
    ("OTEL_SERVICE_NAME", "traces.service_name"),
];

/// The values of each source.
pub(super) struct Layers {
    defaults: Value,
    /// The sources that were given: the file, each variable, the flags. Later ones win.
    given: Vec<(Origin, Value)>,
    /// The default of `data_dir`.
    pub(super) data_dir: PathBuf,
    /// The shell's name of this machine.
    hostname: Option<String>,
}

impl Layers {
    pub(super) fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &dyn Provider,
    ) -> Result<Self, ConfigError> {
        let variables: BTreeMap<String, String> = environment.into_iter().collect();
        let path = |name: &str| {
            let text = variables.get(name).filter(|text| !text.is_empty());
            text.map(PathBuf::from)
        };
        let file = file.map(Path::to_owned);
        let file = file.or_else(|| path("WHARFINGER_CONFIG")).map(read_file);
        let flags = flags
            .data()
            .map_err(|error| ConfigError::Flags(Box::new(error)))?;
        let flags = flags.into_values().map(|dict| (Origin::Flag, dict.into()));
        let given = file.transpose()?.into_iter();
        // The XDG specification ignores relative paths.
        let data_home = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let data_home = data_home
            .or_else(|| Some(path("HOME")?.join(".local/share")))
            .unwrap_or_else(|| PathBuf::from("/var/lib"));
        let defaults: Dict = Toml::from_str(DEFAULTS).expect("the built-in default.toml is TOML");
        Ok(Self {
            defaults: defaults.into(),
            given: given.chain(settings_of(&variables)).chain(flags).collect(),
            data_dir: data_home.join("wharfinger"),
            hostname: variables.get("HOSTNAME").cloned(),
        })
    }

    /// Fails for a key of any source that `default.toml` does not have.
    pub(super) fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        let mut given = self.given.iter();
        given.try_for_each(|(origin, values)| refuse_unknown("", values, &self.defaults, origin))
    }

    /// Returns all sources merged, the later over the earlier.
    pub(super) fn merged(&self) -> Figment {
        let defaults = Figment::from(Serialized::defaults(&self.defaults));
        let given = self.given.iter();
        given.fold(defaults, |merged, (_, values)| {
            merged.merge(Serialized::defaults(values))
        })
    }

    /// Returns the source that decides the value of a key.
    pub(super) fn origin(&self, key: &str) -> Origin {
        let mut latest_first = self.given.iter().rev();
        let found = latest_first.find(|(_, values)| values.find_ref(key).is_some());
        found.map_or(Origin::Default, |(origin, _)| origin.clone())
    }

    /// Returns the kernel's name of this machine; elsewhere than on Linux the shell's.
    pub(super) fn default_host_name(&self) -> Result<String, ConfigError> {
        fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| self.hostname.clone())
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                ConfigError::invalid(
                    self,
                    "host_name",
                    "\"\"",
                    "a name, and this machine has none either",
                )
            })
    }
}

/// Fails for a key inside of `path` that is not known, or is a section where it should be none, or the other way round.
fn refuse_unknown(
    path: &str,
    given: &Value,
    known: &Value,
    origin: &Origin,
) -> Result<(), ConfigError> {
    match (given, known) {
        (Value::Dict(_, given), Value::Dict(_, known)) => {
            for (name, value) in given {
                let key = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
                let Some(known) = known.get(name) else {
                    return Err(ConfigError::Unknown {
                        key,
                        origin: origin.clone(),
                        known: names(known),
                    });
                };
                refuse_unknown(&key, value, known, origin)?;
            }
            Ok(())
        }
        (_, Value::Dict(_, inner)) => Err(ConfigError::Invalid {
            key: path.to_owned(),
            origin: origin.clone(),
            found: "a single value".to_owned(),
            expected: format!("a section; it has {}", names(inner)),
        }),
        (Value::Dict(_, inner), _) => Err(ConfigError::Unknown {
            key: format!("{path}.{}", inner.keys().next().map_or("", String::as_str)),
            origin: origin.clone(),
            known: format!("{path} itself, which is no section"),
        }),
        _ => Ok(()),
    }
}

fn read_file(path: PathBuf) -> Result<(Origin, Value), ConfigError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    match Toml::from_str::<Dict>(&text) {
        Ok(dict) => Ok((Origin::File(path), dict.into())),
        Err(error) => {
            // It has several lines, and the inner ones have text of the file, which may be a secret.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            let message = format!("{first}: {last}");
            Err(ConfigError::Syntax { path, message })
        }
    }
}

/// Returns the variables that are settings, those with our prefix over the usual names.
fn settings_of(variables: &BTreeMap<String, String>) -> Vec<(Origin, Value)> {
    let usual = USUAL_NAMES.iter().filter_map(|(variable, key)| {
        let value = variables.get(*variable)?;
        Some((*variable, (*key).to_owned(), value))
    });
    let prefixed = variables.iter().filter_map(|(variable, value)| {
        let name = variable.strip_prefix(PREFIX)?;
        let ours = !NOT_SETTINGS.contains(&variable.as_str()) && !variable.starts_with(TEST_PREFIX);
        // Of one that is misspelt, every part is shown: `nest` would stop at an empty one.
        let name = name.to_lowercase();
        let parts = name
            .split("__")
            .map(|part| if part.is_empty() { "_" } else { part });
        let key = parts.collect::<Vec<_>>().join(".");
        ours.then_some((variable.as_str(), key, value))
    });
    let settings = usual.chain(prefixed).map(|(variable, key, value)| {
        let origin = Origin::Variable(variable.to_owned());
        (origin, nest(&key, Value::from(value.as_str())))
    });
    settings.collect()
}

fn names(dict: &Dict) -> String {
    dict.keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
