#!/usr/bin/env bash
# bench.sh latency|pull|throughput|footprint|live|reads
#
# Measures the release binary with servers of its own beside it. PostgreSQL keeps its defaults here: every commit is
# synced to disk, as where it matters. BullMQ, mercurius and graphql-yoga are installed from npm into a temporary directory where they are
# compared with; without npm its lines say SKIPPED. jobs/benches/README.md says what the lines mean.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir"

bench=${1:-}
case $bench in
  latency) servers="redis:redis postgres:postgres engine:engine1 registry:registry" ;;
  pull) servers="engine:engine1 registry:registry" ;;
  throughput) servers="redis:redis postgres:postgres" ;;
  footprint) servers="engine:engine1 registry:registry" ;;
  live | reads) servers="redis:redis postgres:postgres" ;;
  *) die "usage: bench.sh latency|pull|throughput|footprint|live|reads" ;;
esac

# The second time, with the servers beside it.
if [ -n "${WHARFINGER_BENCH_DIR:-}" ]; then
  registry=$WHARFINGER_TEST_REGISTRY
  case $bench in
    latency) set -- bench/small:1 2 1 ;;
    pull) set -- bench/large:1 6 50 ;;
    *) set -- ;;
  esac
  if [ $# -gt 0 ]; then
    "$here/make-image.sh" "$registry" "$@" >/dev/null
    export WHARFINGER_BENCH_IMAGE=$registry/$1
  fi
  if [ "$bench" = latency ]; then
    # The pulls measured are those of an image that is there.
    engine=${WHARFINGER_TEST_DOCKER_HOST_1#unix://}
    curl -fsS --unix-socket "$engine" -X POST -o /dev/null \
      "http://docker/images/create?fromImage=$registry/bench/small&tag=1"
  fi
  exec "$WHARFINGER_BENCH_DRIVER" "$bench"
fi

say "building wharfinger and the driver (release; minutes the first time)"
# By one command: two would choose other features of what both are built on, and build it twice.
WHARFINGER_BENCH_DRIVER=$(cargo build --release --locked -p wharfinger --bin wharfinger -p wharfinger-jobs --bench drive --message-format=json-render-diagnostics |
  sed -n 's/.*"name":"drive".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
WHARFINGER_BENCH_PROGRAM=${CARGO_TARGET_DIR:-$root_dir/target}/release/wharfinger
[ -x "$WHARFINGER_BENCH_DRIVER" ] || die "the driver was not built"
export WHARFINGER_BENCH_PROGRAM WHARFINGER_BENCH_DRIVER

if [ "$bench" = live ]; then
  # A socket is an open file, of the gateway's and of the driver's.
  ulimit -n "$(ulimit -H -n)"
  files=${SUBSCRIBERS:-10000}
  [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -gt $((files + 500)) ] ||
    die "a process may open $(ulimit -n) files here, and $files subscribers need more: set SUBSCRIBERS to less"
fi

WHARFINGER_BENCH_DIR=$(mktemp -d "${TMPDIR:-/tmp}/wharfinger-bench.XXXXXX")
export WHARFINGER_BENCH_DIR
trap 'rm -rf "$WHARFINGER_BENCH_DIR"' EXIT
# Installs a peer from npm, as its lock file says.
from_npm() {
  cp "jobs/benches/$1"/* "$WHARFINGER_BENCH_DIR"
  "$here/packages.sh" npm && (cd "$WHARFINGER_BENCH_DIR" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund >npm.log 2>&1)
}
case $bench in
  latency | throughput)
    if from_npm bullmq; then
      export WHARFINGER_BENCH_BULLMQ=$WHARFINGER_BENCH_DIR
    fi
    ;;
  reads)
    "$here/packages.sh" wrk
    if from_npm node; then
      export WHARFINGER_BENCH_NODE=$WHARFINGER_BENCH_DIR
    fi
    ;;
  pull) "$here/packages.sh" docker ;;
  *) ;;
esac
WHARFINGER_TEST_SERVERS=$servers WHARFINGER_TEST_DURABLE=1 "$here/with-servers.sh" "$here/bench.sh" "$bench"
