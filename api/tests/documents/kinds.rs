//! The checklist for a new kind of job, held against a kind that there is.

use std::fs;

use regex::Regex;

use crate::links::files;
use crate::{read, root};

/// Where the removal is named besides: the terminal client has a command for it, and a clean-up is made of removals.
const BESIDES: [&str; 2] = ["api/src/client", "jobs/src/sweep_images"];

#[test]
fn the_program_names_a_kind_of_job_where_the_checklist_says() {
    let page = read("api/docs/CONTRIBUTING.md");
    let (_, section) = page.split_once("## Add a kind of job\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let steps = section
        .lines()
        .filter(|line| line.starts_with(char::is_numeric));
    let steps: Vec<_> = steps.collect();
    assert!(steps.len() <= 9, "a kind touches nine files: {steps:#?}");

    let path = Regex::new("`((?:api|jobs|entity)/[^`]+)`").unwrap();
    let mut known = Vec::new();
    for step in steps {
        let path = path.captures(step).expect("a path in each step");
        known.push(path.get(1).unwrap().as_str());
    }
    let name =
        r#"\bRemoveImage\b|\bREMOVE_IMAGE\b|\bremoveImage\b|"remove_image"|\bremove_image::"#;
    let name = Regex::new(name).unwrap();
    let mut found = 0;
    for file in files(&[".rs"]) {
        let text = fs::read_to_string(&file).unwrap();
        let mut code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let file = file.strip_prefix(root()).unwrap();
        let is_program = file.iter().any(|folder| folder == "src");
        let besides = BESIDES.iter().any(|known| file.starts_with(known));
        if is_program && !besides && code.any(|line| name.is_match(line)) {
            let listed = known.iter().any(|known| file.starts_with(known));
            assert!(listed, "{} names a kind of job", file.display());
            found += 1;
        }
    }
    assert!(found > 3, "{found} files");
}
