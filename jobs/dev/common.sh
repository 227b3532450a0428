# shellcheck shell=bash
# What the scripts beside this one share: messages, root, ports, waiting, and processes that are
# ended only while they are still the ones that were started. Sourced, never run.

# shellcheck disable=SC2034 # used by the scripts that source this
root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Debian keeps servers where a user's PATH does not look.
extend_path() {
  local bin
  for bin in /usr/local/sbin /usr/sbin /sbin "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/lib/postgresql/*/bin; do
    case :$PATH: in
      *":$bin:"*) ;;
      *) [ ! -d "$bin" ] || PATH=$PATH:$bin ;;
    esac
  done
  export PATH
}
extend_path

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  warn "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly for root, through sudo for anyone else.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo -- "$@"
  else
    die "root is needed for '$1', and there is no sudo"
  fi
}

# True when nothing listens on TCP port $1, on any address of this machine.
port_free() {
  local hex
  printf -v hex ':%04X ' "$1"
  ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk '$4 == "0A" { print $2 " " }' | grep -q "$hex"
}

# Prints a free TCP port: the first free one of the arguments, else a random one below the range
# that the kernel hands out to outgoing connections.
free_port() {
  local port
  for port in "$@"; do
    if port_free "$port"; then
      echo "$port"
      return
    fi
  done
  while :; do
    port=$((20000 + RANDOM % 12000))
    if port_free "$port"; then
      echo "$port"
      return
    fi
  done
}

# Prints when process $1 started, in clock ticks since boot. Fails when it is gone, or a zombie.
# A pid with its start time names one process for ever, where a pid alone is used again.
start_time() {
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [ "${fields[0]}" != Z ] || return 1
  echo "${fields[19]}"
}

# Writes process $2 down in file $1.
record() {
  local started
  started=$(start_time "$2") || return 1
  echo "$2 $started" >"$1"
}

# Prints the pid that file $1 records, while that very process lives.
recorded() {
  local pid started
  { read -r pid started <"$1"; } 2>/dev/null || return 1
  [ "$(start_time "$pid")" = "$started" ] || return 1
  echo "$pid"
}

# Runs a command in the background, in a session of its own so that the terminal's signals pass it
# by, and records it: launch RECORD LOG COMMAND…
launch() {
  local file=$1 log=$2 pid
  shift 2
  setsid "$@" >>"$log" 2>&1 </dev/null &
  pid=$!
  record "$file" "$pid"
}

# The same as root. The process is started inside of sudo, so the pid is its own and not sudo's.
launch_as_root() {
  local file=$1 log=$2 pid
  shift 2
  # shellcheck disable=SC2016 # expands in the inner shell
  pid=$(as_root bash -c 'trap "" HUP; setsid "$@" >>"$0" 2>&1 </dev/null & echo $!' "$log" "$@")
  record "$file" "$pid"
}

# wait_until SECONDS COMMAND… : true as soon as the command succeeds, false when time is up.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# wait_ready RECORD SECONDS COMMAND… : the same, and false as soon as the recorded process ends.
wait_ready() {
  local file=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    recorded "$file" >/dev/null || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

gone() { ! recorded "$1" >/dev/null; }
signal() { kill -s "$1" "$2" 2>/dev/null || as_root kill -s "$1" "$2" 2>/dev/null || true; }

# end_recorded RECORD [SIGNAL] [SECONDS]: asks the recorded process to end, insists when time is up.
end_recorded() {
  local file=$1 pid
  if pid=$(recorded "$file"); then
    signal "${2:-TERM}" "$pid"
    if ! wait_until "${3:-15}" gone "$file"; then
      signal KILL "$pid"
      wait_until 5 gone "$file" || warn "process $pid does not end"
    fi
  fi
  rm -f "$file"
}
