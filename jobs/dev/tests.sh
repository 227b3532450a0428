#!/usr/bin/env bash
# All tests, and then alone what measures how long something waits for something else. Run it beside servers: test.sh does.
set -uo pipefail
status=0
cargo test --workspace --locked --no-fail-fast || status=$?
cargo test --workspace --locked --test life -- --ignored contention:: || status=$?
exit "$status"
