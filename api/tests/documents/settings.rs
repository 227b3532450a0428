//! `api/docs/settings.md` is made from `api/default.toml`.
//!
//! A comment belongs to the keys below it, up to the next comment or empty line. A comment that an empty line follows
//! belongs to its section.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Value};
use wharfinger::config::DEFAULTS;

use crate::assert_current;

const PAGE: &str = "api/docs/settings.md";

const HEAD: &str = "# Settings

<!-- Made from api/default.toml by `make docs`: change that file. -->

Wharfinger reads its settings from a file, then from the environment, then from flags; the last one wins.
[api/default.toml](../default.toml) is such a file, with every setting and its default.
An unknown key or a bad value stops the start with one line that names it.
";

/// Keys that share a comment.
struct Group {
    /// Each with its default, as TOML.
    keys: Vec<(String, String)>,
    meaning: String,
}

/// A table of the file, or what stands before the first.
#[derive(Default)]
struct Section {
    name: String,
    paragraphs: Vec<String>,
    groups: Vec<Group>,
}

fn sections() -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut comment: Vec<&str> = Vec::new();
    let mut begins = true;
    for line in DEFAULTS.lines() {
        let section = sections.last_mut().expect("the first section");
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').to_owned();
            sections.push(Section {
                name,
                ..Section::default()
            });
            begins = true;
        } else if let Some((key, default)) = line.split_once(" = ") {
            let key = (key.to_owned(), default.to_owned());
            if begins || !comment.is_empty() {
                let meaning = comment.join(" ");
                section.groups.push(Group {
                    keys: vec![key],
                    meaning,
                });
            } else {
                section.groups.last_mut().expect("a group").keys.push(key);
            }
            (comment, begins) = (Vec::new(), false);
        } else {
            if !comment.is_empty() {
                section.paragraphs.push(comment.join(" "));
            }
            (comment, begins) = (Vec::new(), true);
        }
    }
    sections
}

impl Section {
    fn key(&self, name: &str) -> String {
        match self.name.as_str() {
            "" => name.to_owned(),
            section => format!("{section}.{name}"),
        }
    }
}

/// Text of a comment in Markdown.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        if index % 2 == 1 {
            return part.replace('|', "\\|");
        }
        let mut escaped = String::new();
        for character in part.chars() {
            match character {
                '*' | '|' => escaped.extend(['\\', character]),
                '<' => escaped.push_str("&lt;"),
                _ => escaped.push(character),
            }
        }
        escaped
    });
    parts.collect::<Vec<_>>().join("`")
}

fn default(toml: &str) -> String {
    match toml {
        "\"\"" => "not set".to_owned(),
        "[]" => "none".to_owned(),
        value => format!(
            "`{}`",
            value.trim_matches(|mark| matches!(mark, '"' | '[' | ']'))
        ),
    }
}

fn page(sections: &[Section]) -> String {
    let mut page = HEAD.to_owned();
    for section in sections {
        if !section.name.is_empty() {
            write!(page, "\n## {}\n", section.name).unwrap();
        }
        for paragraph in &section.paragraphs {
            write!(page, "\n{}\n", escaped(paragraph)).unwrap();
        }
        page.push_str("\n| setting | default | environment | |\n|---|---|---|---|\n");
        for group in &section.groups {
            let column = |cell: &dyn Fn(&(String, String)) -> String| {
                group.keys.iter().map(cell).collect::<Vec<_>>().join("<br>")
            };
            let variable = |key: &str| key.to_uppercase().replace('.', "__");
            writeln!(
                page,
                "| {} | {} | {} | {} |",
                column(&|(name, _)| format!("`{}`", section.key(name))),
                column(&|(_, toml)| default(toml)),
                column(&|(name, _)| format!("`WHARFINGER_{}`", variable(&section.key(name)))),
                escaped(&group.meaning),
            )
            .unwrap();
        }
    }
    page
}

/// Every key with its section, as the program reads them.
fn keys(defaults: &Dict) -> BTreeSet<String> {
    let of_section = |(name, value): (&String, &Value)| match value {
        Value::Dict(_, inner) => inner.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    };
    defaults.iter().flat_map(of_section).collect()
}

#[test]
fn the_page_of_settings_is_made_from_the_defaults() {
    let sections = sections();
    let shown: BTreeSet<String> = sections
        .iter()
        .flat_map(|section| section.groups.iter().map(move |group| (section, group)))
        .flat_map(|(section, group)| group.keys.iter().map(|(name, _)| section.key(name)))
        .collect();
    assert_eq!(shown, keys(&Toml::from_str(DEFAULTS).unwrap()));
    for section in &sections {
        for group in &section.groups {
            assert!(!group.meaning.is_empty(), "{:?} has no comment", group.keys);
        }
    }
    assert_current(PAGE, &page(&sections));
}
