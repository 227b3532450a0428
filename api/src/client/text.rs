//! Text from a server, and the formats of numbers and times.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use wharfinger_entity::CleanText;
use wharfinger_entity::clean_text::{MESSAGE_LENGTH, is_hidden};

/// Text from a server. Displayed, it has no characters that could control a terminal; sent back or written as JSON, it is
/// unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// Returns the unchanged text, to compare or to send back; not for a terminal.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.0))
    }
}

/// Returns `text` as one short line, without characters that could control a terminal or disguise the text.
pub(crate) fn printable(text: &str) -> String {
    CleanText::<MESSAGE_LENGTH>::new(text).into()
}

/// Returns equivalent JSON that is safe to print. The characters in question occur only inside strings, where they can be
/// escaped.
pub(crate) fn printable_json(json: &str) -> String {
    json.chars()
        .fold(String::with_capacity(json.len()), |mut safe, c| {
            if c != '\n' && is_hidden(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            } else {
                safe.push(c);
            }
            safe
        })
}

/// Formats bytes in decimal units, as registries and credits count them: `512 B`, `3.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut whole, mut unit) = (bytes, 0);
    while whole >= 999_950 && unit + 1 < UNITS.len() {
        whole /= 1000;
        unit += 1;
    }
    let tenths = (whole + 50) / 100;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Formats the time since `then`, in the largest whole unit: `12s`, `5m`, `3h`, `9d`. A clock that is ahead gives `0s`.
pub(crate) fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - then).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns the first twelve digits of a digest or an engine's id, as `docker` shows them.
pub(crate) fn short_id(id: &Text) -> String {
    let text = printable(id.raw());
    let digits = text
        .split_once(':')
        .map_or(text.as_str(), |(_, digits)| digits);
    digits.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_not_shown() {
        let text = Text::from("a\u{1b}[31mb\u{9b}2J\u{202e}c\nd\r\u{7}");
        assert_eq!(text.to_string(), "abc d");
        assert_eq!(printable_json("{\"a\":\"\u{9b}\"}"), "{\"a\":\"\\u009b\"}");
        assert_eq!(printable_json("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
        assert_eq!(
            Text::from("é".repeat(3_000_000).as_str())
                .to_string()
                .chars()
                .count(),
            500
        );
    }

    #[test]
    fn sizes_are_decimal_and_never_read_1000() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (3_449_999, "3.4 MB"),
            (2_000_000_000, "2.0 GB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn ages_use_the_largest_unit() {
        let now = DateTime::UNIX_EPOCH + chrono::Duration::days(30);
        let ago = |seconds| age(now - chrono::Duration::seconds(seconds), now);
        assert_eq!(
            [ago(-5), ago(59), ago(61), ago(7200), ago(259_200)],
            ["0s", "59s", "1m", "2h", "3d"]
        );
    }

    #[test]
    fn ids_are_shortened_without_their_algorithm() {
        assert_eq!(
            short_id(&Text::from("sha256:0123456789abcdef")),
            "0123456789ab"
        );
        assert_eq!(short_id(&Text::from("abc")), "abc");
    }
}
