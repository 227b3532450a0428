//! Every audit of npm graphql-http.

use crate::http_toy::{Toy, serve, settings};
use crate::node::Script;

#[tokio::test]
async fn every_audit_of_graphql_over_http_passes() {
    let address = serve(&Toy::default(), settings()).await;
    let url = format!("http://{address}/graphql");
    let said = Script::start("audit.mjs", &[&url]).succeed().await;
    assert_eq!(said, ["61 of 61 audits passed"]);
}
