#!/usr/bin/env bash
# packages.sh COMMAND…
#
# Installs from Debian's packages what provides those of the commands that are missing, and says what and why. Does
# nothing when none is. On another system it names the missing ones, and fails only if there are any.
set -euo pipefail
# shellcheck source=jobs/dev/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Prints the packages that provide command $1, and after a colon what it is for.
package_of() {
  case $1 in
    cc) echo "gcc libc6-dev: to link Rust programs" ;;
    c++) echo "g++: to link the fuzz targets" ;;
    virtualenv) echo "virtualenv: tools in Python, in exact versions" ;;
    curl) echo "curl ca-certificates: to ask servers whether they are ready" ;;
    redis-server | redis-cli) echo "redis-server redis-tools: the queue and live events of a fleet" ;;
    postgres | initdb | pg_isready) echo "postgresql: a fleet's database" ;;
    mariadbd | mariadb-install-db | mariadb-admin) echo "mariadb-server mariadb-client: a fleet's database" ;;
    npm) echo "npm: to install clients and what is compared with" ;;
    docker) echo "docker.io: to compare with docker pull" ;;
    dockerd | containerd) echo "docker.io: a private Docker engine" ;;
    chromium) echo "chromium: to see the playground as a browser does" ;;
    promtool) echo "prometheus: to check the alert rules" ;;
    node) echo "nodejs: to run clients from npm against the endpoint" ;;
    wrk) echo "wrk: to ask a server as often as it answers" ;;
    docker-registry) echo "docker-registry: a local registry to pull from" ;;
    debootstrap) echo "debootstrap: the engines of today, beside those of this system" ;;
    *) return 1 ;;
  esac
}

missing=()
for command in "$@"; do
  have "$command" || missing+=("$command")
done
[ ${#missing[@]} -gt 0 ] || exit 0

packages=()
for command in "${missing[@]}"; do
  line=$(package_of "$command") || die "$command is missing, and no Debian package is known to provide it"
  say "missing: $command (Debian: $line)"
  read -ra names <<<"${line%%:*}"
  packages+=("${names[@]}")
done
if [ ! -e /etc/debian_version ] || ! have apt-get; then
  die "this is not Debian: install the commands above (${missing[*]}) and try again"
fi
if [ "$(id -u)" != 0 ] && ! have sudo; then
  die "not root, and there is no sudo; as root: apt-get install --no-install-recommends ${packages[*]}"
fi

say "installing from Debian: ${packages[*]}"
# A server's package starts its server. These are only needed as programs: both ways in which a package does it (systemd,
# and SysV's invoke-rc.d) are told that this is not the time.
apt() {
  as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1 \
    apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists that are some days old name files that are gone; without any, nothing is found.
apt update || warn "apt-get update failed; trying with the lists that are there"
if ! apt install -y --no-install-recommends "${packages[@]}"; then
  tail -n 20 "$log" >&2
  die "apt-get could not install ${packages[*]}"
fi
extend_path
for command in "${missing[@]}"; do
  have "$command" || die "$command is still missing after installing ${packages[*]}"
done
