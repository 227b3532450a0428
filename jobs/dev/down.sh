#!/usr/bin/env bash
# Ends what up.sh started, and only that: a recorded pid counts while the process has the start time written down with it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
# shellcheck source=jobs/dev/servers.sh
. "$here/servers.sh"

data=$(realpath -m "${WHARFINGER_DATA_DIR:-$root_dir/.wharfinger}")
stopped=()
for server in gateway registry engine; do
  [ -e "$data/up/$server/process" ] || continue
  gone "$data/up/$server/process" || stopped+=("$server")
  # The gateway first: it hands running jobs back. It takes at most worker.grace.
  if [ "$server" = gateway ]; then
    end_recorded "$data/up/gateway/process" TERM 40
  else
    stop "$server" "$data/up/$server"
  fi
done
if [ ${#stopped[@]} = 0 ]; then
  say "nothing of 'make up' was running"
else
  say "stopped: ${stopped[*]}"
fi
[ ! -d "$data" ] || say "the data stays in $data: remove it to start afresh$([ "$(id -u)" = 0 ] || echo ' (the engine'\''s part belongs to root)')"
