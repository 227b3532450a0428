# shellcheck shell=bash
# The engines of today, of Debian's testing suite, as kinds of servers.sh: Docker with a graph driver (engine_graph), Docker
# with the containerd image store (engine_containerd), and Podman's Docker API (podman). Sourced by servers.sh, never run.
#
# Each runs in a mount namespace of its own, in which the file system of engine-root.sh is the root, with what the engine
# writes there in memory. The server's directory has the same path inside and outside. The mounts end with the last process
# of the engine, so there is none to remove after a crash.

# Prints the script that makes the root and becomes the engine: DIR and ROOT, then the engine's command.
# shellcheck disable=SC2016 # expands in the inner shell
enter_root='
  set -e
  dir=$1 lower=$2
  shift 2
  mount -t tmpfs tmpfs "$dir/mnt"
  mkdir "$dir/mnt/upper" "$dir/mnt/work" "$dir/mnt/root"
  root=$dir/mnt/root
  mount -t overlay -o "lowerdir=$lower,upperdir=$dir/mnt/upper,workdir=$dir/mnt/work" overlay "$root"
  for point in proc sys dev; do mount --rbind "/$point" "$root/$point"; done
  cp /etc/hosts /etc/resolv.conf "$root/etc/"
  mkdir -p "$root$dir"
  mount --bind "$dir" "$root$dir"
  cd "$root"
  exec chroot "$root" "$@"'

# launch_in_root RECORD DIR COMMAND…: starts a command as root, in a namespace and root of its own.
launch_in_root() {
  local record=$1 dir=$2 lower
  shift 2
  lower=$("$(dirname "${BASH_SOURCE[0]}")/engine-root.sh") || return 1
  launch_as_root "$record" "$dir/log" env WHARFINGER_TEST_SERVERS="${WHARFINGER_TEST_SERVERS:-}" \
    unshare --mount --propagation private bash -c "$enter_root" enter "$dir" "$lower" "$@"
}

# launch_beside RECORD DIR PID COMMAND…: starts a command as root where process PID is.
launch_beside() {
  local record=$1 dir=$2 pid=$3
  shift 3
  launch_as_root "$record" "$dir/log" env WHARFINGER_TEST_SERVERS="${WHARFINGER_TEST_SERVERS:-}" \
    nsenter --target "$pid" --mount --root --wd "$@"
}

prepare_modern() {
  # It makes the root the first time, which takes minutes: not within the deadline of a start.
  "$(dirname "${BASH_SOURCE[0]}")/engine-root.sh" >/dev/null || return 1
  prepare_engine "$1" || return 1
  mkdir -p "$1/mnt"
  printf '{"features": {"containerd-snapshotter": %s}}\n' "$2" >"$1/daemon.json"
  # The name of the plugin in containerd 2.
  echo 'version = 2' >"$1/containerd.toml"
  echo 'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]' \
    >>"$1/containerd.toml"
}
run_modern() {
  local containerd=$1/exec/containerd.sock pid
  if gone "$1/containerd"; then
    as_root rm -f "$containerd"
    launch_in_root "$1/containerd" "$1" containerd --config "$1/containerd.toml" --address "$containerd" \
      --root "$1/data/containerd" --state "$1/exec/containerd" --log-level warn || return 1
    wait_ready "$1/containerd" 60 test -S "$containerd" || return 1
  fi
  pid=$(recorded "$1/containerd") || return 1
  as_root rm -f "$1/docker.pid" "$1/docker.sock"
  launch_beside "$1/process" "$1" "$pid" \
    dockerd --config-file "$1/daemon.json" --containerd "$containerd" --data-root "$1/data" \
    --exec-root "$1/exec/docker" --pidfile "$1/docker.pid" --host "unix://$1/docker.sock" \
    --group "$(id -g)" --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --log-level warn
}

prepare_engine_graph() { prepare_modern "$1" false; }
run_engine_graph() { run_modern "$1"; }
ready_engine_graph() { ready_engine "$1"; }
prepare_engine_containerd() { prepare_modern "$1" true; }
run_engine_containerd() { run_modern "$1"; }
ready_engine_containerd() { ready_engine "$1"; }

prepare_podman() {
  prepare_modern "$1" false || return 1
  printf '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n' >"$1/registries.conf"
}
run_podman() {
  as_root rm -f "$1/docker.sock"
  launch_in_root "$1/process" "$1" env CONTAINERS_REGISTRIES_CONF="$1/registries.conf" \
    podman --root "$1/data" --runroot "$1/exec" --storage-driver overlay --cgroup-manager cgroupfs \
    system service --time=0 "unix://$1/docker.sock"
}
ready_podman() {
  [ "$(id -u)" = 0 ] || as_root chown "$(id -u)" "$1/docker.sock" || return 1
  ready_engine "$1"
}
# Containers' monitors outlive the service. They have its data directory as an argument.
stop_podman_rest() {
  local pid child
  for pid in $(pids_with_argument "$1/data"); do
    for child in $(children "$pid"); do
      signal KILL "$child"
    done
    signal KILL "$pid"
  done
}
