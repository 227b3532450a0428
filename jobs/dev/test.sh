#!/usr/bin/env bash
# All checks and tests, on servers that this starts: `make test` and .ci/run run it.
# Every step runs, even if an earlier one failed, and the last lines say what failed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir"

# Versions of the checkers, built once into the cache (debug: they are quick to build and quick enough to run).
deny_version=0.20.2
machete_version=0.9.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/wharfinger/tools

have cargo || die "cargo is missing: install Rust from https://rustup.rs"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
times=()

# step NAME COMMAND… : a command that ends with the code $skipped could not look, and says why.
skipped=77
step() {
  local name=$1 from=$SECONDS result=ok status=0
  shift
  say "==> $name"
  "$@" || status=$?
  case $status in
    0) ;;
    "$skipped") result=skipped ;;
    *) result=FAILED && failed+=("$name") ;;
  esac
  times+=("$(printf '%-8s %4ds  %s' "$result" $((SECONDS - from)) "$name")")
}

# tool NAME VERSION: a cargo subcommand, as it is on the PATH, else from the cache, else built.
tool() {
  ! have "$1" || return 0
  local dir=$tools/$1-$2
  [ -x "$dir/bin/$1" ] || cargo install --quiet --locked --debug --root "$dir" "$1@$2" || return 1
  PATH=$PATH:$dir/bin
}
checkers() { tool cargo-deny "$deny_version" && tool cargo-machete "$machete_version"; }

advisories() {
  local out
  if out=$(cargo deny check advisories 2>&1); then
    say "no advisory"
  elif [[ $out == *"failed to fetch advisory database"* ]]; then
    say "SKIPPED: the advisory database (github.com/RustSec/advisory-db) cannot be reached"
    return "$skipped"
  else
    say "$out"
    return 1
  fi
}

schema() {
  "${CARGO_TARGET_DIR:-target}/debug/wharfinger" schema >"$log" || return 1
  diff -u api/schema.graphql "$log" || {
    say "api/schema.graphql is not what the code says: run make sdl"
    return 1
  }
}

# One compilation for the lints and for the tests: clippy's driver is the compiler, which says more. `cargo clippy` reads every
# dependency a second time and leaves nothing to run.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver

# Builds everything; a lint fails this step and leaves the tests there to run.
build() {
  cargo build --workspace --all-targets --locked 2>&1 | tee "$log" || return 1
  ! grep -E '^warning: .* generated [0-9]+ warnings?' "$log"
}

# What clients' own tools say of the schema and the examples, and whether it breaks clients of the last release.
schema_tools() { node --test --test-reporter=spec api/tests/clients/schema/*.test.mjs; }

shell_scripts() {
  local script
  for script in jobs/dev/*.sh .ci/run; do bash -n "$script" || return 1; done
  ! have shellcheck || shellcheck -x jobs/dev/*.sh .ci/run
}

# In the background, so that a signal to this script alone ends the servers and the tests at once too.
tests() {
  local status=0 out copy
  exec {out}> >(tee -i "$log")
  copy=$!
  # Most of what the tests do is wait for servers: more of them than cores.
  RUST_TEST_THREADS=${RUST_TEST_THREADS:-6} "$here/with-servers.sh" "$here/tests.sh" >&"$out" 2>&1 {out}>&- &
  running=$!
  exec {out}>&-
  wait "$running" || status=$?
  running=
  wait "$copy" || true
  return "$status"
}
running=
# shellcheck disable=SC2317 # reached through the traps
interrupted() {
  if [ -n "$running" ]; then
    kill -TERM "$running" 2>/dev/null || true
    wait "$running" 2>/dev/null || true
  fi
  exit "$1"
}
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
trap 'interrupted 129' HUP

step "packages" "$here/packages.sh" cc curl chromium promtool
step "clients from npm" "$here/clients.sh"
step "checkers" checkers
step "format" cargo fmt --all --check
step "shell scripts" shell_scripts
step "cargo deny" cargo deny check bans licenses sources
step "cargo deny: advisories" advisories
step "cargo machete" cargo machete
step "clippy and build" build
step "schema" schema
step "schema: clients' tools" schema_tools
step "tests" tests

say ""
printf '%s\n' "${times[@]}"
if [ ${#failed[@]} != 0 ]; then
  # What each failed test said, without the stack: the whole is far above.
  awk '/^---- .* stdout ----$/ { left = 12 } /stack backtrace:/ { left = 0 } left > 0 { print; left-- }' "$log"
  say "failed: $(printf '%s; ' "${failed[@]}")"
fi
awk '/^test result:/ { passed += $4; bad += $6 } END { printf "%d passed, %d failed\n", passed, bad }' "$log"
[ ${#failed[@]} = 0 ]
