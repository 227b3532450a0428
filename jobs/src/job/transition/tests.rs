//! The diagram in the docs, the table and the code say the same, and no other file writes a job's state.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sea_orm::{ActiveEnum as _, Iterable as _};

use super::*;

/// A state's name in the diagram.
fn name(state: Option<JobState>) -> String {
    state.map_or_else(|| "[*]".to_owned(), |state| state.to_value())
}

fn workspace() -> PathBuf {
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR"));
    jobs.parent().unwrap().to_owned()
}

/// The arrows of the diagram: from, to, label.
fn arrows() -> Vec<(String, String, String)> {
    let page = std::fs::read_to_string(workspace().join("api/docs/states.md")).unwrap();
    let (_, diagram) = page.split_once("stateDiagram-v2\n").unwrap();
    let (diagram, _) = diagram.split_once("```").unwrap();
    let arrow = |line: &str| {
        let (from, rest) = line.split_once(" --> ").expect(line);
        let (to, label) = rest.split_once(" : ").unwrap_or((rest, ""));
        (from.trim().to_owned(), to.to_owned(), label.to_owned())
    };
    diagram.lines().map(arrow).collect()
}

#[test]
fn the_diagram_shows_every_edge_and_no_other() {
    let arrows = arrows();
    let (ends, edges): (Vec<_>, Vec<_>) = arrows.iter().partition(|(_, to, _)| to == "[*]");
    let drawn: BTreeSet<_> = edges.into_iter().cloned().collect();
    let allowed: BTreeSet<_> = EDGES
        .iter()
        .map(|(from, by, to)| (name(*from), name(Some(*to)), by.label().to_owned()))
        .collect();
    assert_eq!(drawn, allowed);
    let ends: BTreeSet<_> = ends.into_iter().map(|(from, ..)| from.clone()).collect();
    let final_states = JobState::iter().filter(|state| state.is_final());
    let finals: BTreeSet<_> = final_states.map(|state| name(Some(state))).collect();
    assert_eq!(ends, finals);
    assert_eq!(
        arrows.len(),
        EDGES.len() + finals.len(),
        "an arrow is drawn twice"
    );
}

#[test]
fn a_transition_leads_to_one_state_and_only_from_where_the_table_says() {
    let states = || std::iter::once(None).chain(JobState::iter().map(Some));
    for (_, by, to) in EDGES {
        for from in states() {
            let edge = EDGES.contains(&(from, *by, *to));
            assert_eq!(
                target(from, *by).ok(),
                edge.then_some(*to),
                "{from:?} {by:?}"
            );
        }
    }
}

/// Rust files of a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Places where a source writes the state of a job, by line number. Images have a state of their own.
fn writers(source: &str) -> Vec<usize> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut literal = "";
    let mut found = Vec::new();
    for (number, line) in code.iter().enumerate() {
        if let Some((before, _)) = line.split_once("ActiveModel {") {
            literal = before;
        }
        // A call may be broken over lines.
        let call = code[number.saturating_sub(2)..=number].concat();
        let call: String = call.split_whitespace().collect();
        let sets_column = line.contains("Column::State")
            && ["col_expr(", ".set(", "value(", "values([("]
                .iter()
                .any(|setter| {
                    let ends = [
                        format!("{setter}Column::State"),
                        format!("{setter}job::Column::State"),
                    ];
                    ends.iter().any(|end| call.contains(end.as_str()))
                });
        // SQL may be put together of parts.
        let lower = line.to_lowercase().replace("\").push(\"", "");
        let lower = lower.replace(['"', '\\'], "");
        let assigns = line.contains(".state = ") && line.contains("Set(");
        let in_literal = line.trim_start().starts_with("state:")
            && line.contains("Set(")
            && !literal.ends_with("image::");
        if sets_column || assigns || in_literal || lower.contains("update jobs") {
            found.push(number + 1);
        }
    }
    found
}

#[test]
fn no_other_file_writes_the_state_of_a_job() {
    let own = workspace().join("jobs/src/job/transition");
    let mut files = Vec::new();
    for folder in ["jobs/src", "api/src"] {
        sources(&workspace().join(folder), &mut files);
    }
    assert!(files.len() > 100, "{}", files.len());
    let mut own_writers = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let found = writers(&source);
        if file.starts_with(&own) {
            own_writers += usize::from(file.ends_with("mod.rs")) * found.len();
        } else if file.ends_with("jobs/src/dispatch/waiting.rs") {
            // Its one statement notes the push.
            assert_eq!(found.len(), 1, "{found:?}");
            let (_, statement) = source.split_once("UPDATE jobs SET ").unwrap();
            let (sets, _) = statement.split_once(" WHERE ").unwrap();
            assert!(sets.starts_with("push = "), "{sets}");
            assert!(!sets.contains("state"), "{sets}");
        } else {
            assert_eq!(found, [0; 0], "{} writes jobs.state", file.display());
        }
    }
    assert_eq!(own_writers, 1, "one line writes the state");
}

#[test]
fn writers_are_found() {
    for line in [
        "done.state = Set(JobState::Succeeded);",
        "let again = job::ActiveModel { id, \n state: Set(JobState::Queued),",
        ".col_expr(job::Column::State, Expr::value(state))",
        ".col_expr(\n    job::Column::State,\n",
        "Query::update().value(Column::State, JobState::Dead)",
        "changed.set(job::Column::State, JobState::Dead.into());",
        "execute_unprepared(\"UPDATE \\\"jobs\\\" SET state = 'DEAD'\")",
        "sql.push(\"UPDATE jobs\").push(\" SET state = \").bind(JobState::Dead);",
        "sql.push(\"UPDATE \").push(\"jobs SET state = \").bind(JobState::Dead);",
        "sql.push(\"update jobs\");",
    ] {
        assert_eq!(writers(line).len(), 1, "{line}");
    }
    for line in [
        "image::ActiveModel {\n    state: Set(ImageState::Held),",
        ".filter(job::Column::State.eq(JobState::Dead))",
        "state: job.state,",
        "if job.state == JobState::Dead {",
        "// done.state = Set(JobState::Succeeded);",
    ] {
        assert!(writers(line).is_empty(), "{line}");
    }
}
