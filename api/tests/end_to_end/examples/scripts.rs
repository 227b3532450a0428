//! The examples in JavaScript, with node: they watch a pull to its end, and `api/docs/clients.md` shows them as they are.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::{FOLDER, names};
use crate::support::images::pushed;
use crate::support::soon;
use crate::support::world::World;

const PAGE: &str = include_str!("../../../docs/clients.md");

/// Where the packages are that the scripts import.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_modules");

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(FOLDER).join("scripts");
    let scripts: Vec<_> = names(&folder, "").map(|name| folder.join(name)).collect();
    assert!(!scripts.is_empty());
    scripts
}

#[tokio::test]
async fn examples_in_javascript() {
    let world = World::embedded();
    let (gateway, ada) = world.serve_to("ada").await;
    let reference = pushed(&world, 1000).await;
    // A module's packages are looked for beside it.
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink(PACKAGES, directory.path().join("node_modules")).unwrap();
    for script in scripts() {
        let here = directory.path().join(script.file_name().unwrap());
        std::fs::copy(&script, &here).unwrap();
        let job = ada.pull(&reference).await;
        let output = Command::new("node")
            .arg(here)
            .arg(&job)
            .env("WHARFINGER_URL", format!("http://{}", gateway.address))
            .env("WHARFINGER_TOKEN", ada.token.as_deref().unwrap())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = soon("the script ends", output).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", script.display());
        let shown = String::from_utf8_lossy(&output.stdout);
        let end = shown.split('{').next_back().unwrap();
        assert!(end.contains("state: 'SUCCEEDED'"), "{shown}");
        assert!(end.contains("phase: 'DONE'"), "{shown}");
    }
}

#[test]
fn the_page_for_clients_shows_the_scripts_as_they_are() {
    let texts = scripts().into_iter().map(std::fs::read_to_string);
    let mut scripts: Vec<_> = texts.map(|text| (text.unwrap(), 0)).collect();
    for part in PAGE.split("```js\n").skip(1) {
        let (code, _) = part.split_once("```").unwrap();
        let shown = scripts.iter_mut().find(|(text, _)| text.contains(code));
        let (_, times) = shown.unwrap_or_else(|| panic!("in no script:\n{code}"));
        *times += 1;
    }
    assert!(scripts.iter().all(|(_, times)| *times > 0), "{scripts:?}");
}
