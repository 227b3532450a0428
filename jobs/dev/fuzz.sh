#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET…]]: runs the fuzz targets of entity and api (all of them), so long each (60 seconds).
#
# The crates are safe Rust, so what is looked for are panics and broken promises, not memory errors: without a sanitizer
# cargo-fuzz does with the stable compiler. What was found stays in the crate's fuzz/artifacts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/dev/common.sh
. "$here/common.sh"
cd "$root_dir"

version=0.13.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/wharfinger/tools/cargo-fuzz-$version
seconds=${1:-60}
shift || true
have cargo || die "cargo is missing: install Rust from https://rustup.rs"
"$here/packages.sh" cc c++
[ -x "$tools/bin/cargo-fuzz" ] || cargo install --quiet --locked --debug --root "$tools" "cargo-fuzz@$version"

for crate in entity api; do
  for source in "$crate"/fuzz/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    case " ${*:-$target} " in *" $target "*) ;; *) continue ;; esac
    say "==> $target of $crate, $seconds seconds"
    (cd "$crate" && "$tools/bin/cargo-fuzz" run --dev --sanitizer none "$target" -- \
      -max_total_time="$seconds" -print_final_stats=1 -verbosity=0)
  done
done
