//! The registry client, against a real registry and against servers that do what real ones rarely do.
#![expect(clippy::unwrap_used, reason = "tests")]

mod blob;
mod fake;
mod hostile;
mod inside;
mod probe;
mod real;
mod rebinding;
mod tokens;

use std::time::Duration;

use wharfinger_jobs::registry::{Platform, RegistryClient, RegistryRules, Timeouts};

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(20),
};

fn rules(allow: &[&str]) -> RegistryRules {
    let allow: Vec<_> = allow.iter().map(|p| (*p).to_owned()).collect();
    RegistryRules::parse(&allow, &[]).unwrap()
}

fn client(allow: &[&str]) -> RegistryClient {
    RegistryClient::new(rules(allow), TIMEOUTS)
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}
