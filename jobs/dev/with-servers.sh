#!/usr/bin/env bash
# with-servers.sh COMMAND…
#
# Runs a command with servers of its own beside it: Redis, PostgreSQL, MariaDB, two Docker engines of Debian 12, the
# engines of today (modern-engines.sh) and a registry, on loopback, on free ports, in a temporary directory. The command
# finds them in
#
#   WHARFINGER_TEST_REDIS_URL       redis://127.0.0.1:…
#   WHARFINGER_TEST_POSTGRES_URL    a superuser; each test makes a database of its own
#   WHARFINGER_TEST_MYSQL_URL       root; each test makes a database of its own
#   WHARFINGER_TEST_DOCKER_HOST_1   unix://…
#   WHARFINGER_TEST_DOCKER_HOST_2   unix://…
#   WHARFINGER_TEST_DOCKER_HOST_GRAPH       unix://…  Docker 28 or newer with a graph driver
#   WHARFINGER_TEST_DOCKER_HOST_CONTAINERD  unix://…  the same with the containerd image store
#   WHARFINGER_TEST_DOCKER_HOST_PODMAN      unix://…  Podman
#   WHARFINGER_TEST_REGISTRY        127.0.0.1:…
#   WHARFINGER_TEST_DIR             redis/, postgres/, mariadb/, engine1/, engine2/, engine_graph/, engine_containerd/,
#                                   podman/, registry/: to stop one or start it again on the same port (servers.sh), or
#                                   to signal the pid in …/process
#
# WHARFINGER_TEST_SERVERS="redis:redis engine:engine1" starts only those; WHARFINGER_TEST_DURABLE=1 starts a PostgreSQL and
# a MariaDB that sync every commit; that PostgreSQL counts statements, too.
#
# The servers, and processes that the command left, end with this script, even after kill -9.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
# shellcheck source=jobs/dev/servers.sh
. "$here/servers.sh"

default_servers="redis:redis postgres:postgres mariadb:mariadb engine:engine1 engine:engine2 engine_graph:engine_graph
  engine_containerd:engine_containerd podman:podman registry:registry"
read -rd '' -a servers <<<"${WHARFINGER_TEST_SERVERS:-$default_servers}" || true

# Ends every process that was started with this run's directory in its environment, and their children (a container's
# processes have an environment of their own). The servers and the command have it, this script has not.
sweep() {
  # shellcheck disable=SC2016 # expands in the inner shell
  as_root bash -c '
    marker=WHARFINGER_TEST_SERVERS=$0
    tree() { local child; echo "$1"; for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do tree "$child"; done; }
    for round in 1 2 3; do
      pids=$(grep -lszxF -- "$marker" /proc/[0-9]*/environ | cut -d/ -f3 | while read -r pid; do tree "$pid"; done | sort -u)
      pids=$(for pid in $pids; do [ "$pid" = $$ ] || echo "$pid"; done)
      [ -n "$pids" ] || break
      kill -KILL $pids 2>/dev/null
    done
    exit 0' "$1"
}

# Stops the servers of directory $1 and removes it.
clean_up() {
  local server stopping=()
  for server in "${servers[@]}"; do
    [ ! -d "$1/${server#*:}" ] || { stop "${server%:*}" "$1/${server#*:}" & stopping+=($!); }
  done
  [ ${#stopping[@]} = 0 ] || wait "${stopping[@]}" || true
  sweep "$1"
  unmount_below "$1"
  as_root rm -rf --one-file-system "$1"
}

# The guard cleans up if this script is killed in a way that it cannot catch.
if [ "${1:-}" = --guard ]; then
  tail --pid="$2" -f /dev/null &
  # shellcheck disable=SC2064 # this very tail
  trap "kill $!; exit 0" TERM
  wait $!
  trap '' TERM
  clean_up "$3"
  exit 0
fi

[ $# -gt 0 ] || die "usage: with-servers.sh COMMAND…"
"$here/packages.sh" curl redis-server redis-cli postgres initdb pg_isready mariadbd mariadb-install-db mariadb-admin \
  dockerd containerd docker-registry
extend_path
# Once, and with words: it takes minutes, and its server would wait in silence.
case " ${servers[*]}" in
  *" engine_graph:"* | *" engine_containerd:"* | *" podman:"*) "$here/engine-root.sh" >/dev/null ;;
esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/wharfinger-test.XXXXXX")
chmod 711 "$dir" # PostgreSQL's user has to get in
command_pid=
starting=()

# shellcheck disable=SC2317 # reached through the trap
finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [ -n "$command_pid" ] && kill -TERM -- "-$command_pid" 2>/dev/null; then
    wait_until 10 command_gone || true
  fi
  if [ ${#starting[@]} -gt 0 ]; then
    kill "${starting[@]}" 2>/dev/null || true
    wait "${starting[@]}" 2>/dev/null || true
  fi
  end_recorded "$guard"
  clean_up "$dir"
  exit "$status"
}
# shellcheck disable=SC2317 # called by wait_until
command_gone() { ! kill -0 -- "-$command_pid" 2>/dev/null; }

guard=$dir/guard
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
launch "$guard" /dev/null "$here/with-servers.sh" --guard "$$" "$dir"

for server in "${servers[@]}"; do
  (
    export WHARFINGER_TEST_SERVERS=$dir
    start "${server%:*}" "$dir/${server#*:}"
  ) &
  starting+=($!)
done
for pid in "${starting[@]}"; do
  wait "$pid" || die "not every server started"
done
starting=()

port() { [ ! -e "$dir/$1/port" ] || cat "$dir/$1/port"; }
# In a session of its own, so that a signal reaches all of it, and through `wait`, so that it does at once.
setsid env --default-signal=INT,QUIT \
  WHARFINGER_TEST_SERVERS="$dir" \
  WHARFINGER_TEST_DIR="$dir" \
  WHARFINGER_TEST_REDIS_URL="redis://127.0.0.1:$(port redis)" \
  WHARFINGER_TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$(port postgres)/postgres" \
  WHARFINGER_TEST_MYSQL_URL="mysql://root@127.0.0.1:$(port mariadb)/mysql" \
  WHARFINGER_TEST_DOCKER_HOST_1="unix://$dir/engine1/docker.sock" \
  WHARFINGER_TEST_DOCKER_HOST_2="unix://$dir/engine2/docker.sock" \
  WHARFINGER_TEST_DOCKER_HOST_GRAPH="unix://$dir/engine_graph/docker.sock" \
  WHARFINGER_TEST_DOCKER_HOST_CONTAINERD="unix://$dir/engine_containerd/docker.sock" \
  WHARFINGER_TEST_DOCKER_HOST_PODMAN="unix://$dir/podman/docker.sock" \
  WHARFINGER_TEST_REGISTRY="127.0.0.1:$(port registry)" \
  "$@" <&0 &
command_pid=$!
status=0
wait "$command_pid" || status=$?
exit "$status"
