#!/usr/bin/env bash
# engine-root.sh
#
# Prints the directory of a root file system with the engines of today: Docker 28 or newer and Podman, from Debian's testing
# suite. The first call makes it in the cache (three minutes, 1 GB); two calls at once make it once.
set -euo pipefail
# shellcheck source=jobs/dev/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Raise the number when the packages or the steps change: the next call makes a new file system.
version=forky-1
packages=docker.io,containerd,runc,ca-certificates,iptables,podman,crun,fuse-overlayfs
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wharfinger/engines
root=$cache/$version

# Prints the address of a Debian mirror: the one that this machine installs from. apt reads its sources in every format.
mirror() {
  local id codename address
  if [ -n "${WHARFINGER_DEBIAN_MIRROR:-}" ]; then
    echo "$WHARFINGER_DEBIAN_MIRROR"
    return
  fi
  read -r id codename < <(. /etc/os-release && echo "${ID:-} ${VERSION_CODENAME:-}") || true
  [ "$id" = debian ] || die "this is not Debian: set WHARFINGER_DEBIAN_MIRROR to the URL of a Debian mirror"
  # shellcheck disable=SC2016 # apt's own variables
  address=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v codename="$codename" '$2 == "main" && ($1 == codename || $1 ~ /^(stable|testing|unstable|sid)$/) { print $3; exit }')
  [ -n "$address" ] || die "apt names no mirror of Debian's main: set WHARFINGER_DEBIAN_MIRROR to the URL of one"
  echo "$address"
}

# Unmounts what lies below directory $1 and removes it. An attempt that was killed leaves both.
discard() {
  # shellcheck disable=SC2016 # expands in the inner shell
  as_root bash -c 'awk -v dir="$0/" "index(\$5, dir) == 1 { print \$5 }" /proc/self/mountinfo | sort -r |
    while read -r point; do umount -l "$(printf %b "$point")" || exit 1; done && rm -rf --one-file-system "$0"' "$1"
}

make_root() {
  local building=$root.building address
  "$(dirname "${BASH_SOURCE[0]}")/packages.sh" debootstrap >&2
  address=$(mirror)
  warn "making a root file system with the engines of today from $address (once, some minutes)"
  discard "$building"
  # A name that this Debian's debootstrap does not know: the script of the suite that it comes from.
  if ! as_root debootstrap --variant=minbase --include="$packages" forky "$building" "$address" \
    /usr/share/debootstrap/scripts/sid >"$root.log" 2>&1; then
    tail -n 20 "$root.log" >&2
    die "debootstrap failed; the whole output is in $root.log"
  fi
  as_root rm -rf "$building/var/cache/apt/archives" "$building/var/lib/apt/lists"
  # What is half written after a power cut must not have the final name.
  sync -f "$building"
  as_root mv -T "$building" "$root"
}

mkdir -p "$cache"
if [ ! -d "$root" ]; then
  # The lock ends with the processes that hold it, a kill included.
  exec {lock}>"$root.lock"
  flock "$lock"
  [ -d "$root" ] || make_root
fi
echo "$root"
