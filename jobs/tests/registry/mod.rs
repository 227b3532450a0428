//! The registry client, against a real registry and against servers that do what real ones rarely do.

mod blob;
mod fake;
mod hostile;
mod inside;
mod probe;
mod real;
mod rebinding;
mod tokens;

use std::time::Duration;

use wharfinger_jobs::registry::{
    Login, Manifest, Platform, RegistryClient, RegistryError, RegistryRules, Timeouts,
};

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

/// Reads the manifest of tag `v1`.
async fn read(
    client: &RegistryClient,
    address: &str,
    repository: &str,
    login: Option<&Login>,
) -> Result<Manifest, RegistryError> {
    let platform = amd64();
    let read = client.manifest(address, repository, "v1", login, &platform);
    read.await
}

fn is_unavailable(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unavailable { .. })
}
