#!/usr/bin/env bash
# Shows Wharfinger at work: an engine (the one that is there, else a private one), a registry with a demo image, the
# gateway on its embedded defaults, a user, a pull. Leaves the gateway running; down.sh ends what this started.
# A second run uses what already runs. Everything is kept in .wharfinger, or in WHARFINGER_DATA_DIR.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
# shellcheck source=jobs/dev/servers.sh
. "$here/servers.sh"

# The demo is the embedded shape with its defaults: settings in the caller's environment do not count.
for name in $(compgen -e); do
  case $name in
    WHARFINGER_DATA_DIR) ;;
    WHARFINGER_* | DATABASE_URL | REDIS_URL | OTEL_*) unset "$name" ;;
    *) ;;
  esac
done
WHARFINGER_DATA_DIR=$(realpath -m "${WHARFINGER_DATA_DIR:-$root_dir/.wharfinger}")
export WHARFINGER_DATA_DIR
up=$WHARFINGER_DATA_DIR/up
image=demo/harbour:1
cd "$root_dir"

# follow LOG PID: shows what a background process writes, until it ends. Returns its status.
follow() {
  local status=0
  tail -n +1 -q -f -s 0.1 --pid="$2" "$1" >&2 &
  wait "$2" || status=$?
  wait $! || true
  return "$status"
}

# A path as it is written from the root, where it is in it.
short() { echo "${1#"$root_dir/"}"; }

have cargo || die "cargo is missing: install Rust from https://rustup.rs"
mkdir -p "$up/gateway"
chmod 700 "$WHARFINGER_DATA_DIR"
# The demo talks to this machine only, without a proxy.
export no_proxy=127.0.0.1,localhost${no_proxy:+,$no_proxy}
export NO_PROXY=$no_proxy

# The program is built while packages are installed and servers are started: most of that is waiting.
"$here/packages.sh" cc
say "building wharfinger (in release mode: minutes the first time)"
cargo build --release --locked -p wharfinger >"$up/build.log" 2>&1 &
building=$!
trap 'kill "$building" 2>/dev/null || true' EXIT
"$here/packages.sh" curl docker-registry

# The engine. One on another machine could not reach the demo's registry on this one's loopback.
engine=${DOCKER_HOST:-unix:///var/run/docker.sock}
case $engine in
  unix://* | tcp://127.* | tcp://localhost:*) engine_answers "$engine" || engine= ;;
  *) engine= ;;
esac
if [ -n "$engine" ] && gone "$up/engine/process"; then
  say "engine:   $engine (it was there)"
else
  "$here/packages.sh" dockerd containerd
  start engine "$up/engine"
  engine=unix://$up/engine/docker.sock
  say "engine:   a private one in $(short "$up/engine"), without bridge and iptables"
fi
export DOCKER_HOST=$engine

# The registry and its image.
start registry "$up/registry" 5000
registry=127.0.0.1:$(cat "$up/registry/port")
manifest=http://$registry/v2/${image%:*}/manifests/${image##*:}
accept='Accept: application/vnd.docker.distribution.manifest.v2+json'
if ! curl -fs --noproxy '*' -o /dev/null -I -H "$accept" "$manifest"; then
  "$here/make-image.sh" "$registry" "$image" 6 8,27,3,18,21,13 >/dev/null
fi
say "registry: http://$registry with $image"

# The gateway.
follow "$up/build.log" "$building" || die "wharfinger cannot be built: $(short "$up/build.log") says why"
trap - EXIT
program=${CARGO_TARGET_DIR:-$root_dir/target}/release/wharfinger
gateway=$up/gateway
if pid=$(recorded "$gateway/process"); then
  # A rebuild replaces the file, and the link to the running one then says that it was deleted.
  if [ "$(readlink "/proc/$pid/exe")" != "$(realpath "$program")" ] || [ "$(cat "$gateway/engine")" != "$engine" ]; then
    say "restarting the gateway: the program or its engine changed"
    end_recorded "$gateway/process" TERM 40
  fi
fi
if gone "$gateway/process"; then
  port=$(free_port 8080)
  [ "$port" = 8080 ] || say "port 8080 is taken: using $port"
  board=$(free_port 8081)
  echo "$port" >"$gateway/port"
  echo "$board" >"$gateway/board"
  echo "$engine" >"$gateway/engine"
  launch "$gateway/process" "$gateway/log" env \
    WHARFINGER_LISTEN="127.0.0.1:$port" WHARFINGER_BOARD__LISTEN="127.0.0.1:$board" \
    WHARFINGER_REGISTRIES__ALLOW='*,127.0.0.1:*' "$program" serve
  wait_ready "$gateway/process" 60 curl -fsS --noproxy '*' --max-time 5 "http://127.0.0.1:$port/readyz" || {
    return_log "$gateway" "the gateway does not get ready" || exit 1
  }
fi
url=http://127.0.0.1:$(cat "$gateway/port")
export WHARFINGER_URL=$url/graphql

# The user. The database keeps only a hash of the token, so the token is kept here, readable by its owner only.
token_file=$up/demo-token
if ! { [ -s "$token_file" ] && WHARFINGER_TOKEN=$(cat "$token_file") "$program" balance >/dev/null 2>&1; }; then
  name=demo
  (
    umask 077
    "$program" user create "$name" >"$token_file" 2>"$up/user.log" ||
      "$program" user create "$name-$(date +%s)" >"$token_file"
  ) || return_log "$gateway" "$(cat "$up/user.log")" || exit 1
fi
WHARFINGER_TOKEN=$(cat "$token_file")
export WHARFINGER_TOKEN

show() {
  say ""
  say "\$ wharfinger $*"
  "$program" "$@"
}
show images
show balance
show pull "$registry/$image"
show images
show balance

say ""
say "Wharfinger is running."
say ""
say "  playground  $url/playground"
say "  endpoint    $url/graphql"
[ ! -s "$gateway/board" ] || say "  board       http://127.0.0.1:$(cat "$gateway/board"), for administrators"
say "  console     to come; until then / leads to the playground"
say "  token       $(short "$token_file"): send it as \"Authorization: Bearer …\""
say "  log         $(short "$gateway/log")"
say ""
say "Go on with:"
say ""
[ "$url" = http://127.0.0.1:8080 ] || say "  export WHARFINGER_URL=$WHARFINGER_URL"
say "  export WHARFINGER_TOKEN=\$(cat $(short "$token_file"))"
say "  $(short "$program") pull redis:7"
say ""
say "\`make down\` ends it all."
