//! Relative links lead to files and headings that exist, and so do paths from the root of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::root;

/// Files of the repository whose names end like this: those that are ours, not what tools put beside them.
pub(crate) fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found
}

/// The text of a Markdown page without its blocks of code.
fn prose(text: &str) -> String {
    let blocks = text.split("\n```").enumerate();
    let outside = blocks.filter(|(index, _)| index % 2 == 0);
    outside.map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

/// The anchors of the headings of a page, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

/// Why a link leads nowhere, if it does not.
fn broken(page: &Path, text: &str, target: &str) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        page.parent().unwrap().join(path)
    };
    if !file.exists() {
        return Some(format!("{}: no file {target}", page.display()));
    }
    if anchor.is_empty() || file.extension().is_none_or(|ending| ending != "md") {
        return None;
    }
    let text = if path.is_empty() {
        text.to_owned()
    } else {
        fs::read_to_string(&file).unwrap()
    };
    let there = anchors(&text).contains(anchor);
    (!there).then(|| format!("{}: no heading {target}", page.display()))
}

#[test]
fn relative_links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut broken_links, mut count) = (Vec::new(), 0);
    for page in files(&[".md"]) {
        let text = fs::read_to_string(&page).unwrap();
        for link in link.captures_iter(&prose(&text)) {
            if !link[1].contains(':') {
                count += 1;
                broken_links.extend(broken(&page, &text, &link[1]));
            }
        }
    }
    assert!(count > 50);
    assert!(broken_links.is_empty(), "{broken_links:#?}");
}

#[test]
fn files_that_are_named_exist() {
    let path = Regex::new(
        r"(?:^|[^\w/.-])((?:api|jobs|entity|migration)/[\w./-]+\.(?:md|rs|sh|mjs|toml|ya?ml|graphql|csv|ts|py))\b",
    )
    .unwrap();
    // In pages also folders, and files by the end of their path.
    let in_backticks =
        Regex::new(r"`([\w.-]+/[\w./-]+\.rs|(?:api|jobs|entity|migration)/[\w./-]+)`").unwrap();
    let sources: Vec<String> = files(&[".rs"])
        .iter()
        .map(|file| file.to_string_lossy().into_owned())
        .collect();
    let (mut missing, mut count) = (Vec::new(), 0);
    for file in files(&[
        ".md", ".rs", ".sh", ".toml", ".yml", ".yaml", ".mjs", "Makefile",
    ]) {
        let text = fs::read_to_string(&file).unwrap();
        let patterns: &[&Regex] = if file.extension().is_some_and(|ending| ending == "md") {
            &[&path, &in_backticks]
        } else {
            &[&path]
        };
        for named in patterns
            .iter()
            .flat_map(|pattern| pattern.captures_iter(&text))
        {
            count += 1;
            let end = format!("/{}", &named[1]);
            if !root().join(&named[1]).exists() && !sources.iter().any(|path| path.ends_with(&end))
            {
                missing.push(format!("{}: {}", file.display(), &named[1]));
            }
        }
    }
    assert!(count > 100);
    assert!(missing.is_empty(), "{missing:#?}");
}
