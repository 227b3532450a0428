#!/usr/bin/env bash
# fuzz-schema.sh [SECONDS]: runs schemathesis (300 seconds) against a gateway on PostgreSQL and Redis with a worker, as an
# administrator, as a user and as an anonymous client. No answer may be a server's fault. Run it beside servers: make fuzz-schema.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir"

version=4.32.5
tools=${XDG_CACHE_HOME:-$HOME/.cache}/wharfinger/tools/schemathesis-$version
seconds=${1:-300}
: "${WHARFINGER_TEST_POSTGRES_URL:?run it beside servers: make fuzz-schema}"
"$here/packages.sh" cc curl virtualenv
if [ ! -x "$tools/bin/st" ]; then
  virtualenv --quiet "$tools"
  "$tools/bin/pip" install --quiet "schemathesis==$version"
fi
# As make test builds it: by another command it would be built anew, with other features of what it is built on.
cargo build --workspace --tests --bins --locked
program=${CARGO_TARGET_DIR:-$root_dir/target}/debug/wharfinger

export DATABASE_URL=$WHARFINGER_TEST_POSTGRES_URL REDIS_URL=$WHARFINGER_TEST_REDIS_URL DOCKER_HOST=$WHARFINGER_TEST_DOCKER_HOST_1
export WHARFINGER_DATA_DIR=$WHARFINGER_TEST_DIR/fuzz WHARFINGER_LISTEN=127.0.0.1:0 WHARFINGER_BOARD__LISTEN=""
export WHARFINGER_SECRET_KEY=no-secret-for-anything-but-this WHARFINGER_REGISTRIES__ALLOW="127.0.0.1:*"
# The faults that it looks for are behind the limits.
export WHARFINGER_LIMITS__REQUESTS_PER_SECOND=0 WHARFINGER_LIMITS__LIVE_JOBS_PER_USER=0 WHARFINGER_LIMITS__PULLS_PER_HOUR_PER_USER=0
mkdir -p "$WHARFINGER_DATA_DIR"
log=$WHARFINGER_DATA_DIR/log
administrator=$("$program" user create eve --admin --credits 1000000)
user=$("$program" user create ada --credits 1000000)
"$program" serve >"$log" 2>&1 &
address=
# shellcheck disable=SC2317 # called by wait_until
listens() { address=$(sed -n 's|.*the gateway listens on http://\([0-9.:]*\).*|\1|p' "$log") && [ -n "$address" ]; }
wait_until 60 listens || die "the gateway did not start: $(cat "$log")"

failed=
# ask NAME SECONDS HEADER… : without signOut, which would end the token.
ask() {
  say "==> as $1, $2 seconds"
  PYTHONPATH=$root_dir/api/tests/schemathesis SCHEMATHESIS_HOOKS=hooks "$tools/bin/st" --no-color run api/schema.graphql \
    --url "http://$address/graphql" --checks is_answered --max-time "$2" --workers 2 --continue-on-failure \
    --generation-allow-x00 true --generation-database none --warnings off --suppress-health-check all \
    --exclude-name Mutation.signOut "${@:3}" || failed="$failed $1"
}
ask administrator $((seconds * 3 / 5)) -H "Authorization: Bearer $administrator"
ask user $((seconds / 5)) -H "Authorization: Bearer $user"
ask anonymous $((seconds / 5))

curl -fsS --noproxy '*' "http://$address/readyz" || failed="$failed readyz"
if grep -E '"level":"ERROR"|panicked' "$log"; then
  failed="$failed log"
fi
[ -z "$failed" ] || die "faults of the server's:$failed"
