#!/usr/bin/env bash
# fuzz-suggestions.sh: runs clairvoyance, which guesses a schema from the suggestions in errors. Its words are names of the schema,
# each without its last letter. With suggestions it learns nearly everything; as an anonymous client, and where suggestions
# are off, it learns nothing. It reads errors of graphql-js only: api/tests/clairvoyance/translate.py rewrites ours.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir"

version=2.5.5
tools=${XDG_CACHE_HOME:-$HOME/.cache}/wharfinger/tools/clairvoyance-$version
"$here/packages.sh" cc virtualenv
if [ ! -x "$tools/bin/clairvoyance" ]; then
  virtualenv --quiet "$tools"
  "$tools/bin/pip" install --quiet "clairvoyance==$version"
fi
# As make test builds it: by another command it would be built anew, with other features of what it is built on.
cargo build --workspace --tests --bins --locked
program=${CARGO_TARGET_DIR:-$root_dir/target}/debug/wharfinger

dir=$(mktemp -d)
started=()
# shellcheck disable=SC2317 # reached through the trap
finish() {
  [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT
export WHARFINGER_DATA_DIR=$dir/data WHARFINGER_LISTEN=127.0.0.1:0 WHARFINGER_BOARD__LISTEN="" WHARFINGER_LIMITS__REQUESTS_PER_SECOND=0
token=$("$program" user create ada 2>"$dir/log")
# Fields and arguments stand behind one tab. What is left of one may be another (jobs, job), and is no guess.
sed -n 's/^\t\([a-z][a-zA-Z]*\).*/\1/p' api/schema.graphql | sort -u >"$dir/names"
sed 's/.$//' "$dir/names" | sort -u | grep -vxFf "$dir/names" >"$dir/words"
[ "$(wc -l <"$dir/words")" -gt 100 ] || die "no names found in api/schema.graphql"

# learned NAME INTROSPECTION [TOKEN]: writes into file NAME how many fields clairvoyance found.
learned() {
  local name=$1 address
  WHARFINGER_LIMITS__INTROSPECTION=$2 "$program" serve --no-worker >"$dir/$name.log" 2>&1 &
  started+=($!)
  wait_until 60 grep -q "the gateway listens on" "$dir/$name.log" || die "the gateway did not start: $(cat "$dir/$name.log")"
  address=$(sed -n 's|.*the gateway listens on http://\([0-9.:]*\).*|\1|p' "$dir/$name.log")
  "$tools/bin/python" api/tests/clairvoyance/translate.py "http://$address/graphql" "$dir/$name.port" "${@:3}" &
  started+=($!)
  wait_until 60 test -s "$dir/$name.port" || die "the translator did not start"
  # It gives up with an error where it learns nothing.
  "$tools/bin/clairvoyance" "http://127.0.0.1:$(cat "$dir/$name.port")/graphql" -w "$dir/words" -o "$dir/$name.json" \
    >"$dir/$name.said" 2>&1 || true
  "$tools/bin/python" - "$dir/$name.json" >"$dir/$name" <<'PYTHON'
import json, os, sys
types = json.load(open(sys.argv[1]))["data"]["__schema"]["types"] if os.path.exists(sys.argv[1]) else []
fields = [field["name"] for of in types if not of["name"].startswith("__") for field in of.get("fields") or []]
# What it puts in where it found nothing.
print(len([name for name in fields if name != "dummy"]))
PYTHON
}
learned told true "$token"
learned anonymous true
learned off false "$token"
told=$(cat "$dir/told") anonymous=$(cat "$dir/anonymous") off=$(cat "$dir/off")
say "fields learned: $told with suggestions, $anonymous as an anonymous client, $off where suggestions are off"
[ "$told" -gt 100 ] || die "clairvoyance learns nothing even where it should, so this says nothing: $(tail -n 20 "$dir/told.said")"
if [ "$anonymous" != 0 ] || [ "$off" != 0 ]; then
  die "clairvoyance learns from what should tell nothing"
fi
