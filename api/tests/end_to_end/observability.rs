//! The files in `api/observability`: what they speak of is there, and they are what their programs take.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::metrics::{Scrape, base};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// Our metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:wharfinger|image)_[a-z_]*[a-z]\b").unwrap();
    let names = name.find_iter(text).map(|found| found.as_str().to_owned());
    names.collect()
}

/// Fails unless the dashboard and the alerts ask for what is exported, and show all of it.
pub(crate) fn shows_what_is_exported(scrapes: &[Scrape]) {
    let exported: BTreeSet<_> = scrapes.iter().flat_map(Scrape::names).collect();
    let mut asked = BTreeSet::new();
    expressions(&dashboard(), &mut asked);
    let rules = read("alerts.yml");
    let rules = rules.lines().filter(|line| !line.contains("description:"));
    asked.extend(rules.map(ToOwned::to_owned));
    let names: BTreeSet<String> = asked.iter().flat_map(|text| named(text)).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        assert!(exported.contains(&**name), "no {name} in {exported:?}");
    }
    // And the other way around: what is exported is shown, or somebody forgot it.
    let shown: BTreeSet<_> = names.iter().map(|name| base(name)).collect();
    for name in exported {
        assert!(shown.contains(base(name)), "{name} is not shown");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboard.json")).unwrap()
}

/// Every query in it.
fn expressions(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if matches!(name.as_str(), "expr" | "definition" | "query") => {
                        into.insert(text.to_owned());
                    }
                    _ => expressions(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        _ => {}
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_the_chosen_data_source() {
    let dashboard = dashboard();
    let mut variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let chosen = variables.find(|variable| variable["name"] == "datasource");
    let chosen = chosen.unwrap();
    assert_eq!(chosen["type"], "datasource");
    assert_eq!(chosen["query"], "prometheus");
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 20);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert_eq!(panel["datasource"], source, "{panel}");
        assert_ne!(panel["title"], "", "{panel}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"], source, "{panel}");
            let metrics = named(target["expr"].as_str().unwrap());
            assert!(!metrics.is_empty(), "{panel}");
        }
    }
}

#[test]
fn the_alerts_are_valid_and_fire_when_they_should() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(folder())
            .output();
        let output = output.expect("promtool is installed (Debian's package prometheus)");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn every_alert_is_tested() {
    let alerts = Regex::new(r"- alert: (\w+)").unwrap();
    let rules = read("alerts.yml");
    let tests = read("alerts_test.yml");
    let mut count = 0;
    for alert in alerts.captures_iter(&rules) {
        count += 1;
        let alert = &alert[1];
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&fires), "{alert} is never seen to fire");
    }
    assert!(count > 10);
}
