//! The values that the toy gateway answers with, under the contract's names.

use serde_json::{Value, json};

/// `alice`, whose name tries to clear the screen.
pub(super) fn viewer() -> Value {
    let refund = json!({ "kind": "REFUND", "amount": "117.3", "job": { "id": "job-1" } });
    json!({ "name": "alice\u{1b}[2J", "balance": balance(), "ledger": { "nodes": [refund] } })
}

pub(super) fn balance() -> Value {
    json!({ "available": "882.7", "held": "0", "total": "882.7" })
}

pub(super) fn host(number: u32) -> Value {
    json!({ "id": format!("host-id-{number}"), "name": format!("host-{number}") })
}

pub(super) fn user_error(code: &str, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

/// A held private image of redis on a host.
pub(super) fn image(id: &str, tag: &str, on: u32) -> Value {
    json!({
        "id": id,
        "reference": format!("docker.io/library/redis:{tag}"),
        "familiarName": format!("redis:{tag}"),
        "digest": "sha256:dddd",
        "imageId": format!("sha256:abcdef{tag}{}", "0".repeat(50)),
        "size": 117_300_000,
        "charge": "117.3",
        "visibility": "PRIVATE",
        "state": "HELD",
        "pulledAt": "2024-01-01T00:00:00Z",
        "host": host(on),
    })
}

/// `job-1`, a pull of redis:7.
pub(super) fn job(state: &str) -> Value {
    let ended = state == "SUCCEEDED";
    json!({
        "id": "job-1",
        "kind": "PULL_IMAGE",
        "state": state,
        "reference": "docker.io/library/redis:7",
        "attempt": 1,
        "maxAttempts": 5,
        "held": "300",
        "createdAt": "2024-01-01T00:00:00Z",
        "host": host(1),
        "image": ended.then(|| image("image-1", "7", 1)),
    })
}

/// `job-1` with an error.
pub(super) fn failed(state: &str, code: &str, message: &str) -> Value {
    let mut job = job(state);
    job["error"] = json!({ "code": code, "message": message, "retryable": state == "RETRYING" });
    job
}

/// A running pull with two layers, the first of which is in this state.
pub(super) fn progress(sequence: i32, phase: &str, first_layer: &str) -> Value {
    let layer =
        |id, state| json!({ "id": id, "state": state, "downloaded": 0, "total": 2_000_000 });
    json!({
        "sequence": sequence,
        "state": if phase == "DONE" { "SUCCEEDED" } else { "RUNNING" },
        "phase": phase,
        "attempt": 1,
        "downloaded": 0,
        "total": 4_000_000,
        "reused": 0,
        "layers": [layer("sha256:aaaaaaaaaaaaaaaa", first_layer), layer("bbbbbbbbbbbb", "REUSED")],
    })
}
