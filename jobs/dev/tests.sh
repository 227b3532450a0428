#!/usr/bin/env bash
# Runs the tests; test.sh runs it beside servers. `tests.sh long` runs what takes longer, marked #[ignore]: MariaDB where the
# database does not matter, the long forms, and then, one at a time, what measures how long transactions wait for each other.
set -uo pipefail
if [ "${1:-}" != long ]; then
  exec cargo test --workspace --locked --no-fail-fast
fi
status=0
cargo test --workspace --locked --no-fail-fast -- --ignored --nocapture --skip contention:: || status=$?
alone=$(cargo test --workspace --locked --test life -- --ignored --test-threads=1 contention:: | tee /dev/stderr) || status=$?
# A filter that finds no test passes too.
[[ $alone == *" 2 passed"* ]] || status=1
exit "$status"
