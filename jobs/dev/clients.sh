#!/usr/bin/env bash
# Installs what the tests with other projects' clients need: node, and the packages of api/tests/clients in the versions
# of its lock file. Does nothing when they are there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir/api/tests/clients"

"$here/packages.sh" node npm
# A copy of the lock file that was installed; npm's own note of it leaves out what is not for this platform.
installed=node_modules/installed-lock.json
cmp -s package-lock.json "$installed" && exit 0
say "installing the packages of api/tests/clients from npm"
npm ci --no-progress --loglevel=error
cp package-lock.json "$installed"
