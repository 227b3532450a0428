//! How single values are read. Text is understood everywhere, because the environment has nothing else.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};
use wharfinger_entity::Credits;
use wharfinger_entity::clean_text::is_hidden;
use zeroize::Zeroizing;

/// A text that never prints (`Debug` hides it, and there is no `Display`), and that leaves nothing in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// A type whose texts can be named in an error: `… is not {WHAT}`.
pub trait Described: FromStr {
    /// With its article: "an address such as 127.0.0.1:8080".
    const WHAT: &'static str;
}

impl Described for std::net::SocketAddr {
    const WHAT: &'static str = "an address and port such as 127.0.0.1:8080";
}
impl Described for String {
    const WHAT: &'static str = "text";
}
impl Described for Secret {
    const WHAT: &'static str = "text";
}
impl Described for std::path::PathBuf {
    const WHAT: &'static str = "a path";
}

/// Reads a text as `T`.
pub fn parsed<'de, T: Described, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = deserializer.deserialize_any(Text(T::WHAT))?;
    parse(&text)
}

/// Reads a text as `T`, the empty one as `None`.
pub fn optional<'de, T: Described, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = deserializer.deserialize_any(Text(T::WHAT))?;
    if text.is_empty() {
        Ok(None)
    } else {
        parse(&text).map(Some)
    }
}

fn parse<T: Described, E: Error>(text: &str) -> Result<T, E> {
    text.parse()
        .map_err(|_| E::invalid_value(Unexpected::Str(text), &T::WHAT))
}

/// Reads `500ms`, `15s`, `1h 30m`.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    const WHAT: &str = "a duration such as 500ms, 15s or 5m";
    let text = deserializer.deserialize_any(Text(WHAT))?;
    humantime::parse_duration(&text)
        .map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &WHAT))
}

/// Reads an amount of credits: a decimal that is not negative, with at most six places.
pub fn credits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Credits, D::Error> {
    const WHAT: &str = "an amount such as 300 or 0.5, with at most six decimals";
    let text = deserializer.deserialize_any(Text(WHAT))?;
    match text.parse::<Credits>() {
        Ok(credits) if !credits.is_negative() => Ok(credits),
        _ => Err(D::Error::invalid_value(Unexpected::Str(&text), &WHAT)),
    }
}

/// Reads an array of texts, or one text with commas. Blank entries are left out.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a list such as [\"a\", \"b\"], or a,b in the environment"
    )]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    let entries = match Either::deserialize(deserializer)? {
        Either::Text(text) => text.split(',').map(str::to_owned).collect(),
        Either::List(list) => list,
    };
    Ok(entries
        .iter()
        .map(|entry| entry.trim().to_owned())
        .filter(|entry| !entry.is_empty())
        .collect())
}

/// Longest name of a label, in characters.
const MAX_LABEL_NAME: usize = 63;
/// Longest value of a label, in characters.
const MAX_LABEL_VALUE: usize = 255;
/// Labels of one host.
const MAX_LABELS: usize = 64;

/// Reads a list of `name=value`.
pub fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    const WHAT: &str =
        "a label such as disk=ssd, with letters, digits, ., _, - or / in a name that no other has";
    let mut labels = BTreeMap::new();
    for entry in list(deserializer)? {
        let label = entry.split_once('=').and_then(|(name, value)| {
            let (name, value) = (name.trim(), value.trim());
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            let good = (1..=MAX_LABEL_NAME).contains(&name.len())
                && name.chars().all(plain)
                && value.chars().count() <= MAX_LABEL_VALUE
                && !value.chars().any(is_hidden);
            good.then(|| (name.to_owned(), value.to_owned()))
        });
        let fresh = label.is_some_and(|(name, value)| labels.insert(name, value).is_none());
        if !fresh || labels.len() > MAX_LABELS {
            return Err(D::Error::invalid_value(Unexpected::Str(&entry), &WHAT));
        }
    }
    Ok(labels)
}

/// Takes a text, or a number as its text: `admin.name = 7` and `credits.initial = 1000` mean what they look like.
struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.trim().to_owned())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}
