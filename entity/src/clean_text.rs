//! [`CleanText`]: what an engine, a registry or an image says, made safe to store, log and print.

use std::{borrow::Borrow, convert::Infallible, fmt, ops::Deref, str::FromStr};

use sea_orm::DeriveValueType;
use serde::Serialize;

/// Characters of a message, at most: of an error that a job tells, and of a text that an answer repeats.
pub const MESSAGE_LENGTH: usize = 500;

/// One line of at most `MOST` characters, none of which is hidden (see [`is_hidden`]). Databases store every such text,
/// and no terminal obeys one.
///
/// Texts of others become one where they come in, so that code behind that line cannot pass on a raw one:
/// - terminal sequences (`ESC [ … m`) and hidden characters are left out;
/// - line breaks, tabs and runs of blanks become one blank;
/// - what is too long is cut, and ends with `…`.
///
/// Two texts can become the same one. An identifier must not change its meaning: use [`CleanText::exact`] for it.
///
/// In the database a text column, for the usual length: what other versions stored is cleaned when it is read.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, DeriveValueType,
)]
#[serde(transparent)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct CleanText<const MOST: usize = MESSAGE_LENGTH>(String);

impl<const MOST: usize> CleanText<MOST> {
    /// Cleans a text.
    pub fn new(text: &str) -> Self {
        Self(clean(text, MOST))
    }

    /// The text as it is, or none where cleaning would change it: for names and ids.
    pub fn exact(text: &str) -> Option<Self> {
        // A text that long needs no cleaning to be refused.
        let cleaned = (text.len() <= MOST * 4).then(|| Self::new(text))?;
        (cleaned.0 == text).then_some(cleaned)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character is not for people to see: it steers a terminal (C0, DEL, C1), turns the direction of a text
/// (U+202A–U+202E, U+2066–U+2069, U+200E, U+200F, U+061C), has no shape of its own (zero-width characters, fillers, tags,
/// variation selectors of old scripts), or stands for what could not be read (U+FFFD and the noncharacters).
///
/// These are Unicode's general category Cf and its `Default_Ignorable_Code_Point`s, but for U+FE00–U+FE0F, which only choose
/// the picture of an emoji.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

fn clean(text: &str, most: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(most));
    let mut length = 0;
    let mut blank = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' || c == '\u{9b}' {
            rest = after_sequence(c, &rest);
        } else if c.is_whitespace() {
            blank = length > 0;
        } else if !is_hidden(c) {
            let width = 1 + usize::from(blank);
            if length + width > most {
                cut(&mut cleaned, length, most);
                break;
            }
            if std::mem::take(&mut blank) {
                cleaned.push(' ');
            }
            cleaned.push(c);
            length += width;
        }
    }
    cleaned
}

/// Makes room for `…` at the end of a text of `length` characters.
fn cut(cleaned: &mut String, length: usize, most: usize) {
    if length == most {
        cleaned.pop();
    }
    cleaned.truncate(cleaned.trim_end().len());
    if most > 0 {
        cleaned.push('…');
    }
}

/// Returns the text after a control sequence (ECMA-48, section 5.4) that begins with `introducer`. After an ESC that begins no
/// sequence, that is all of `rest`.
fn after_sequence<'a>(introducer: char, rest: &std::str::Chars<'a>) -> std::str::Chars<'a> {
    let mut ahead = rest.clone();
    if introducer == '\u{1b}' && ahead.next() != Some('[') {
        return rest.clone();
    }
    let text = ahead.as_str();
    let parameters = text.trim_start_matches(|c| matches!(c, '\u{20}'..='\u{3f}'));
    match parameters.chars().next() {
        Some('\u{40}'..='\u{7e}') => parameters[1..].chars(),
        _ => text.chars(),
    }
}

impl<const MOST: usize> Deref for CleanText<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> AsRef<str> for CleanText<MOST> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> Borrow<str> for CleanText<MOST> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> fmt::Display for CleanText<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MOST: usize> From<&str> for CleanText<MOST> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const MOST: usize> From<String> for CleanText<MOST> {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<const MOST: usize> From<CleanText<MOST>> for String {
    fn from(text: CleanText<MOST>) -> Self {
        text.0
    }
}

impl<const MOST: usize> FromStr for CleanText<MOST> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl<const MOST: usize> PartialEq<str> for CleanText<MOST> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MOST: usize> PartialEq<&str> for CleanText<MOST> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<const MOST: usize> PartialEq<String> for CleanText<MOST> {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        CleanText::<20>::new(text).into()
    }

    #[test]
    fn what_people_read_stays() {
        for text in ["", "a b", "ghcr.io/a:1 é☃ 图像", "e\u{301} 👩\u{fe0f}"] {
            assert_eq!(cleaned(text), text);
            assert_eq!(CleanText::<20>::exact(text).unwrap(), text);
        }
    }

    #[test]
    fn control_and_direction_characters_are_removed() {
        for (text, left) in [
            ("a\0b", "ab"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{9b}2Jgone", "gone"),
            ("\u{1b}]0;title\u{7}", "]0;title"),
            ("\u{1b}[12", "12"),
            ("\u{1b}", ""),
            ("a\u{202e}b\u{2066}c\u{200f}", "abc"),
            (" one\r\n\ttwo\u{2028}three ", "one two three"),
            ("\u{fffd}\u{ffff}\u{e0041}x", "x"),
        ] {
            assert_eq!(cleaned(text), left, "{text:?}");
            assert_eq!(CleanText::<20>::exact(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(cleaned(&"é".repeat(20)), "é".repeat(20));
        assert_eq!(cleaned(&"é".repeat(21)), format!("{}…", "é".repeat(19)));
        assert_eq!(
            cleaned("eighteen letters   and more"),
            "eighteen letters an…"
        );
        assert_eq!(cleaned("nineteen characters and"), "nineteen characters…");
        assert_eq!(CleanText::<20>::exact(&"a".repeat(21)), None);
        assert_eq!(CleanText::<0>::new("a"), "");
    }

    #[test]
    fn it_is_written_as_its_text() {
        let text = CleanText::<20>::new("a\0b");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""ab""#);
    }
}
