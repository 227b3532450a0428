#!/usr/bin/env bash
# Starts and stops the servers that the demo and the tests need, each in a directory of its own, on
# loopback, touching nothing of the system's. Sourced by the other scripts; run by hand or by a test:
#
#   servers.sh start|stop|restart KIND DIR     KIND: redis, postgres, mariadb, registry, engine (Debian 12's),
#                                              engine_graph, engine_containerd, podman (modern-engines.sh)
#
# DIR/process records the server, DIR/port its port (kept over a restart), DIR/log its output. An
# engine answers on DIR/docker.sock. Data is on throw-away terms: a crash may lose it
# (but PostgreSQL's and MariaDB's are safe with WHARFINGER_TEST_DURABLE set).

if ! declare -F launch >/dev/null; then
  # shellcheck source=jobs/dev/common.sh
  . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
fi
# shellcheck source=jobs/dev/modern-engines.sh
. "$(dirname "${BASH_SOURCE[0]}")/modern-engines.sh"

# start KIND DIR [PREFERRED_PORT…]: returns when the server answers. Does nothing while it runs.
start() {
  local kind=$1 dir=$2 port try
  shift 2
  gone "$dir/process" || return 0
  mkdir -p "$dir"
  if [ ! -e "$dir/prepared" ]; then
    "prepare_$kind" "$dir" >>"$dir/log" 2>&1 || return_log "$dir" "cannot prepare $kind" || return 1
    touch "$dir/prepared"
  fi
  # Another program may take a free port before the server does: then try the next.
  for try in 1 2 3; do
    port=$(cat "$dir/port" 2>/dev/null || true)
    port=$(free_port ${port:+"$port"} "$@")
    echo "$port" >"$dir/port"
    if "run_$kind" "$dir" "$port" && wait_ready "$dir/process" 60 "ready_$kind" "$dir" "$port"; then
      return 0
    fi
    stop "$kind" "$dir"
    rm -f "$dir/port"
  done
  return_log "$dir" "$kind does not start (tried $try times)"
}

# stop KIND DIR: returns when the server and what it started are gone. Its data stays.
stop() {
  local signal=TERM
  # PostgreSQL waits for its clients on TERM; INT ends their sessions.
  [ "$1" != postgres ] || signal=INT
  end_recorded "$2/process" "$signal" 20
  case $1 in
    engine*) stop_engine_rest "$2" ;;
    podman) stop_podman_rest "$2" ;;
  esac
}

return_log() {
  warn "$2; the end of $1/log:"
  tail -n 20 "$1/log" >&2 || true
  return 1
}

prepare_redis() { :; }
run_redis() {
  launch "$1/process" "$1/log" redis-server --bind 127.0.0.1 --port "$2" --dir "$1" \
    --save '' --appendonly no --daemonize no
}
ready_redis() { [ "$(redis-cli -h 127.0.0.1 -p "$2" ping)" = PONG ]; }

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}
prepare_postgres() {
  mkdir "$1/data"
  [ "$(id -u)" != 0 ] || chown postgres: "$1/data"
  (cd / && as_postgres initdb -D "$1/data" -U postgres --auth=trust --encoding=UTF8 \
    --locale=C.UTF-8 --no-sync --no-instructions)
}
run_postgres() {
  local as=() terms=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off)
  [ -z "${WHARFINGER_TEST_DURABLE:-}" ] || terms=(-c shared_preload_libraries=pg_stat_statements)
  # Not runuser, which stays around as the parent: setpriv becomes the server.
  [ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  launch "$1/process" "$1/log" "${as[@]}" "$(command -v postgres)" -D "$1/data" \
    -c listen_addresses=127.0.0.1 -c port="$2" -c unix_socket_directories= \
    -c max_connections=300 "${terms[@]}"
}
ready_postgres() { pg_isready -q -h 127.0.0.1 -p "$2" -U postgres -d postgres; }

prepare_mariadb() {
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$1/data" \
    --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve
}
run_mariadb() {
  local terms=(--innodb-flush-log-at-trx-commit=0 --innodb-flush-method=O_DIRECT_NO_FSYNC)
  [ -z "${WHARFINGER_TEST_DURABLE:-}" ] || terms=()
  launch "$1/process" "$1/log" mariadbd --no-defaults --user="$(id -un)" --datadir="$1/data" \
    --bind-address=127.0.0.1 --port="$2" --socket="$1/mariadb.sock" --pid-file="$1/mariadb.pid" \
    --skip-name-resolve --max-connections=300 --innodb-buffer-pool-size=64M "${terms[@]}"
}
ready_mariadb() { mariadb-admin --no-defaults -h 127.0.0.1 -P "$2" -u root ping; }

prepare_registry() { :; }
run_registry() {
  cat >"$1/config.yml" <<YAML
version: 0.1
log: { level: warn }
storage:
  filesystem: { rootdirectory: "$1/data" }
  delete: { enabled: true }
http: { addr: "127.0.0.1:$2", secret: loopback-only }
YAML
  launch "$1/process" "$1/log" docker-registry serve "$1/config.yml"
}
ready_registry() { curl -fsS --noproxy '*' -o /dev/null --max-time 2 "http://127.0.0.1:$2/v2/"; }

# A Docker engine beside whatever the system has: its own containerd, data, sockets and pid file; no
# bridge, no iptables, no forwarding. The containerd is started here and not by dockerd, which would
# take the system's where there is one, and wait without end for its own after a crash.
prepare_engine() {
  # A socket's path has at most 107 bytes, and containerd appends to it.
  if [ ${#1} -gt 70 ]; then
    echo "$1 is too long a path for the engine's sockets: set WHARFINGER_DATA_DIR (or TMPDIR, for tests) to a shorter one"
    return 1
  fi
  mkdir -p "$1/data" "$1/exec"
  echo '{}' >"$1/daemon.json"
  echo 'version = 2' >"$1/containerd.toml"
  echo 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >>"$1/containerd.toml"
}
run_engine() {
  local containerd=$1/exec/containerd.sock
  if gone "$1/containerd"; then
    launch_as_root "$1/containerd" "$1/log" env WHARFINGER_TEST_SERVERS="${WHARFINGER_TEST_SERVERS:-}" \
      containerd --config "$1/containerd.toml" --address "$containerd" \
      --root "$1/data/containerd" --state "$1/exec/containerd" --log-level warn || return 1
    wait_ready "$1/containerd" 30 test -S "$containerd" || return 1
  fi
  as_root rm -f "$1/docker.pid" "$1/docker.sock"
  launch_as_root "$1/process" "$1/log" env WHARFINGER_TEST_SERVERS="${WHARFINGER_TEST_SERVERS:-}" \
    dockerd --config-file "$1/daemon.json" --containerd "$containerd" --data-root "$1/data" \
    --exec-root "$1/exec/docker" --pidfile "$1/docker.pid" --host "unix://$1/docker.sock" \
    --group "$(id -gn)" --bridge=none --iptables=false --ip-forward=false --ip-masq=false \
    --log-level warn
}
ready_engine() { engine_answers "unix://$1/docker.sock"; }
# What a dockerd leaves behind when it was killed: containers with their shims, its containerd, mounts.
stop_engine_rest() {
  local pid child containerd
  containerd=$(recorded "$1/containerd") || containerd=
  for pid in $(pids_with_argument "$1/exec/containerd.sock"); do
    [ "$pid" != "$containerd" ] || continue
    for child in $(children "$pid"); do
      signal KILL "$child"
    done
    signal KILL "$pid"
  done
  end_recorded "$1/containerd" TERM 10
  unmount_below "$1"
}

# True when a Docker engine answers at the DOCKER_HOST $1.
engine_answers() {
  local reply
  case $1 in
    unix://*) reply=$(curl -fsS --max-time 5 --unix-socket "${1#unix://}" http://docker/_ping) ;;
    tcp://*) reply=$(curl -fsS --max-time 5 --noproxy '*' "http://${1#tcp://}/_ping") ;;
    *) return 1 ;;
  esac 2>/dev/null
  [ "$reply" = OK ]
}

# Prints the processes that have $1 as an argument.
pids_with_argument() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    if tr '\0' '\n' <"$file" 2>/dev/null | grep -qxF -- "$1"; then
      file=${file%/cmdline}
      echo "${file#/proc/}"
    fi
  done 2>/dev/null
}

children() { cat "/proc/$1/task/"*/children 2>/dev/null || true; }

unmount_below() {
  local point
  # The deepest first.
  awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while read -r point; do
      as_root umount -l "$(printf '%b' "$point")" 2>/dev/null || true
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  [ $# -ge 3 ] || die "usage: servers.sh start|stop|restart KIND DIR"
  case $1 in
    start) start "${@:2}" ;;
    stop) stop "$2" "$3" ;;
    restart) stop "$2" "$3" && start "${@:2}" ;;
    *) die "usage: servers.sh start|stop|restart KIND DIR" ;;
  esac
fi
