#!/usr/bin/env bash
# Runs all tests, and then, one at a time, those that measure how long transactions wait for each other. test.sh runs it beside servers.
set -uo pipefail
status=0
cargo test --workspace --locked --no-fail-fast || status=$?
alone=$(cargo test --workspace --locked --test life -- --ignored --test-threads=1 contention:: | tee /dev/stderr) || status=$?
# A filter that finds no test passes too; these measure, one after the other.
[[ $alone == *" 2 passed"* ]] || status=1
exit "$status"
