//! `api/docs/adr/README.md` is made from the heads of the decisions: a title, and below it the status.

use std::fmt::Write as _;
use std::fs;

use regex::Regex;

use crate::{assert_current, root};

const PAGE: &str = "api/docs/adr/README.md";

const HEAD: &str = "# Decisions

<!-- Made from the heads of the files by `make docs`. -->

One file each: the context, the decision, the consequence. A decision that no longer holds stays, and its status names the one that
replaced it. Missing numbers were never used.

| | decision | status |
|---|---|---|
";

#[test]
fn the_list_of_decisions_is_made_from_their_heads() {
    let folder = root().join("api/docs/adr");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    let head = Regex::new(
        r"^# (\d{4}): (.+)\n\n\*\*Status\.\*\* (Accepted|(?:Superseded|Amended) by \[\d{4}\]\([^)]+\))",
    )
    .unwrap();
    let mut page = HEAD.to_owned();
    for name in &names {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let head = head.captures(&text).unwrap_or_else(|| {
            panic!("{name} does not begin with its title and `**Status.** Accepted.` or `**Status.** Superseded by [0000](0000-name.md).`")
        });
        assert_eq!(head[1], name[..4], "{name}");
        writeln!(
            page,
            "| [{}]({name}) | {} | {} |",
            &head[1], &head[2], &head[3]
        )
        .unwrap();
    }
    assert_current(PAGE, &page);
}
