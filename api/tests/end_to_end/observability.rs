//! The files in `api/observability`: what they speak of is there, and they are what their programs take.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::metrics::Scrape;
use crate::support::images::pushed;
use crate::support::servers::Server;
use crate::support::world::World;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// Our metrics that a text names, less what the exporter adds to a histogram's name.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:wharfinger|image)_[a-z_]*[a-z]\b").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .collect()
}

#[tokio::test]
async fn every_metric_of_dashboard_and_alerts_is_exported() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let reference = pushed(&world, 1000).await;
    let job = client.pull(&reference).await;
    client.succeeded(&job).await;
    let failing = client.pull("127.0.0.1:1/nothing:v1").await;
    client.ended(&failing).await;

    let scrapes = [Scrape::of(&gateway).await, Scrape::of(&worker).await];
    let exported: BTreeSet<_> = scrapes.iter().flat_map(Scrape::names).collect();
    let mut asked = BTreeSet::new();
    expressions(&dashboard(), &mut asked);
    let rules = read("alerts.yml");
    asked.extend(
        rules
            .lines()
            .filter(|line| !line.contains("description:"))
            .map(ToOwned::to_owned),
    );
    let names: BTreeSet<_> = asked.iter().flat_map(|text| named(text)).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !exported.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {exported:?}");
    // And the other way around: what is exported is shown, or somebody forgot it.
    let bases = |name: &str| {
        let suffix = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        suffix.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<_> = names.iter().map(|name| bases(name)).collect();
    let forgotten: Vec<_> = exported
        .iter()
        .map(|name| bases(name))
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
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
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(
        variables
            .iter()
            .any(|variable| variable["name"] == "datasource"
                && variable["type"] == "datasource"
                && variable["query"] == "prometheus")
    );
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 20);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert_eq!(panel["datasource"], source, "{panel}");
        assert_ne!(panel["title"], "", "{panel}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
            "{panel}"
        );
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"], source, "{panel}");
            assert!(
                !named(target["expr"].as_str().unwrap()).is_empty(),
                "{panel}"
            );
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
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&said)
        );
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
        let fires = format!(
            "alertname: {}\n        exp_alerts:\n          - exp_labels",
            &alert[1]
        );
        assert!(
            tests.contains(&fires),
            "{} is never seen to fire",
            &alert[1]
        );
    }
    assert!(count > 10);
}
