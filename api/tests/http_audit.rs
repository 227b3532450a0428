//! Every audit of npm graphql-http (`npm ci` in `tests/audit` first; needs node 20).

mod http_toy;

use http_toy::{Toy, serve, settings};

#[tokio::test]
#[ignore = "needs node and the packages of tests/audit"]
async fn every_audit_of_graphql_over_http_passes() {
    let url = format!(
        "http://{}/graphql",
        serve(&Toy::default(), settings()).await
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit/audit.mjs");
    let status = tokio::process::Command::new("node")
        .arg(script)
        .arg(url)
        .status()
        .await
        .unwrap();
    assert!(status.success());
}
