//! Each alert has a heading in the runbook, and says where.

use std::collections::BTreeSet;

use regex::Regex;

use crate::read;

fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

#[test]
fn every_alert_names_its_heading_in_the_runbook() {
    let rules = read("api/observability/alerts.yml");
    let alerts = found(r"- alert: (\w+)", &rules);
    assert!(alerts.len() > 10);
    let headings = found(r"(?m)^### (Wharfinger\w+)$", &read("api/docs/runbook.md"));
    assert_eq!(alerts, headings);
    for rule in rules.split("- alert: ").skip(1) {
        let alert = rule.lines().next().unwrap();
        let runbook = format!("runbook: api/docs/runbook.md#{}\n", alert.to_lowercase());
        assert!(rule.contains(&runbook), "{alert} has no `{runbook}`");
    }
}
