//! The sources of settings, kept apart until each key was checked, so that errors can name the source.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Provider,
    providers::{Format, Toml},
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

/// The values of each source; later sources win.
pub(super) struct Layers {
    defaults: Dict,
    file: Option<(PathBuf, Dict)>,
    /// By key, with the name of the variable.
    environment: BTreeMap<String, (String, String)>,
    flags: Dict,
    machine: Machine,
}

/// The environment that the defaults of `data_dir` and `host_name` depend on.
#[derive(Default)]
struct Machine {
    data_home: Option<PathBuf>,
    home: Option<PathBuf>,
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
            variables
                .get(name)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        let file = file
            .map(Path::to_owned)
            .or_else(|| path("WHARFINGER_CONFIG"));
        let machine = Machine {
            // The XDG specification ignores relative paths.
            data_home: path("XDG_DATA_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
            hostname: variables.get("HOSTNAME").cloned(),
        };
        let flags = flags
            .data()
            .map_err(|error| ConfigError::Flags(Box::new(error)))?;
        Ok(Self {
            defaults: Toml::from_str(DEFAULTS).expect("the built-in default.toml is TOML"),
            file: file.map(read_file).transpose()?,
            environment: settings_of(&variables),
            flags: flags.into_values().next().unwrap_or_default(),
            machine,
        })
    }

    /// Fails for a key of any source that `default.toml` does not have.
    pub(super) fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        if let Some((path, dict)) = &self.file {
            refuse_unknown("", dict, &self.defaults, &Origin::File(path.clone()))?;
        }
        for (key, (variable, value)) in &self.environment {
            let dict = nested(key, value.clone());
            refuse_unknown(
                "",
                &dict,
                &self.defaults,
                &Origin::Variable(variable.clone()),
            )?;
        }
        refuse_unknown("", &self.flags, &self.defaults, &Origin::Flag)
    }

    /// Returns all sources merged, the later over the earlier.
    pub(super) fn merged(&self) -> Dict {
        let mut all = self.defaults.clone();
        if let Some((_, dict)) = &self.file {
            merge(&mut all, dict);
        }
        for (key, (_, value)) in &self.environment {
            merge(&mut all, &nested(key, value.clone()));
        }
        merge(&mut all, &self.flags);
        all
    }

    /// Returns the source that decides the value of a key.
    pub(super) fn origin(&self, key: &str) -> Origin {
        if has(&self.flags, key) {
            Origin::Flag
        } else if let Some((variable, _)) = self.environment.get(key) {
            Origin::Variable(variable.clone())
        } else if let Some((path, _)) = self.file.as_ref().filter(|(_, dict)| has(dict, key)) {
            Origin::File(path.clone())
        } else {
            Origin::Default
        }
    }

    pub(super) fn default_data_dir(&self) -> PathBuf {
        let Machine {
            data_home, home, ..
        } = &self.machine;
        let base = data_home
            .clone()
            .or_else(|| home.as_ref().map(|home| home.join(".local/share")));
        base.unwrap_or_else(|| PathBuf::from("/var/lib"))
            .join("wharfinger")
    }

    /// Returns the kernel's name of this machine; elsewhere than on Linux the shell's.
    pub(super) fn default_host_name(&self) -> Result<String, ConfigError> {
        fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| self.machine.hostname.clone())
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

fn refuse_unknown(
    path: &str,
    given: &Dict,
    known: &Dict,
    origin: &Origin,
) -> Result<(), ConfigError> {
    for (name, value) in given {
        let key = format!("{path}{name}");
        match (value, known.get(name)) {
            (Value::Dict(_, given), Some(Value::Dict(_, known))) => {
                refuse_unknown(&format!("{key}."), given, known, origin)?;
            }
            (_, Some(Value::Dict(_, inner))) => {
                return Err(ConfigError::Invalid {
                    key,
                    origin: origin.clone(),
                    found: "a single value".to_owned(),
                    expected: format!("a section; it has {}", names(inner)),
                });
            }
            (Value::Dict(_, inner), Some(_)) => {
                return Err(ConfigError::Unknown {
                    key: format!("{key}.{}", inner.keys().next().map_or("", String::as_str)),
                    origin: origin.clone(),
                    known: format!("{key} itself, which is no section"),
                });
            }
            (_, None) => {
                return Err(ConfigError::Unknown {
                    key,
                    origin: origin.clone(),
                    known: names(known),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_file(path: PathBuf) -> Result<(PathBuf, Dict), ConfigError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    match Toml::from_str(&text) {
        Ok(dict) => Ok((path, dict)),
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

/// Returns the variables that are settings, by key. A variable with our prefix wins over a usual name.
fn settings_of(variables: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let usual = USUAL_NAMES.iter().filter_map(|(variable, key)| {
        let value = variables.get(*variable)?;
        Some(((*key).to_owned(), ((*variable).to_owned(), value.clone())))
    });
    let prefixed = variables.iter().filter_map(|(variable, value)| {
        let name = variable.strip_prefix(PREFIX)?;
        let ours = !NOT_SETTINGS.contains(&variable.as_str()) && !variable.starts_with(TEST_PREFIX);
        let key = name.to_lowercase().replace("__", ".");
        ours.then(|| (key, (variable.clone(), value.clone())))
    });
    usual.chain(prefixed).collect()
}

fn nested(key: &str, value: String) -> Dict {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = if rest.is_empty() {
        Value::from(value)
    } else {
        Value::from(nested(rest, value))
    };
    Dict::from([(first.to_owned(), value)])
}

fn merge(into: &mut Dict, from: &Dict) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Dict(_, inner)), Value::Dict(_, value)) => merge(inner, value),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

fn has(dict: &Dict, key: &str) -> bool {
    match key.split_once('.') {
        None => dict.contains_key(key),
        Some((first, rest)) => match dict.get(first) {
            Some(Value::Dict(_, inner)) => has(inner, rest),
            _ => false,
        },
    }
}

fn names(dict: &Dict) -> String {
    dict.keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
