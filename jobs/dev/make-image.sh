#!/usr/bin/env bash
# make-image.sh REGISTRY NAME:TAG [LAYERS [MEGABYTES]]
#
# Makes an image and pushes it to a plain-HTTP registry, offline and without a Docker engine: writes layer tars, a config
# and a manifest and PUTs them to the registry's API. MEGABYTES is the size of each layer, or a list to take in turn
# (1,2,8). The content is random, so that no layer compresses and no two images share one. Prints the manifest's digest.
#
#   make-image.sh 127.0.0.1:5000 bench/big:1 6 50
set -euo pipefail

[ $# -ge 2 ] || {
  echo "usage: make-image.sh REGISTRY NAME:TAG [LAYERS [MEGABYTES]]" >&2
  exit 2
}
registry=$1 name=${2%:*} tag=${2##*:} layers=${3:-3}
IFS=, read -ra sizes <<<"${4:-1}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/wharfinger-image.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP

sha256() { sha256sum "$1" | cut -d' ' -f1; }
request() { curl -fsS --noproxy '*' "$@"; }

# Uploads file $1 as the blob sha256:$2 (distribution spec: POST for a session, PUT closes it).
upload() {
  local location
  location=$(request -o /dev/null -D - -X POST "http://$registry/v2/$name/blobs/uploads/" |
    tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  case $location in
    http*) ;;
    *) location=http://$registry$location ;;
  esac
  case $location in
    *\?*) location+="&digest=sha256:$2" ;;
    *) location+="?digest=sha256:$2" ;;
  esac
  request -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' -T "$1" "$location"
}

diff_ids='' descriptors=''
for ((layer = 1; layer <= layers; layer++)); do
  size=${sizes[(layer - 1) % ${#sizes[@]}]}
  mkdir -p "$dir/tree/cargo"
  head -c "$((size * 1000000))" /dev/urandom >"$dir/tree/cargo/layer-$layer"
  tar -C "$dir/tree" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$dir/layer.tar" .
  gzip -n1 <"$dir/layer.tar" >"$dir/layer.tar.gz"
  digest=$(sha256 "$dir/layer.tar.gz")
  upload "$dir/layer.tar.gz" "$digest"
  diff_ids+="${diff_ids:+,}\"sha256:$(sha256 "$dir/layer.tar")\""
  descriptors+="${descriptors:+,}{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar.gzip\",\"size\":$(stat -c %s "$dir/layer.tar.gz"),\"digest\":\"sha256:$digest\"}"
  rm -rf "$dir/tree" "$dir/layer.tar" "$dir/layer.tar.gz"
done

case $(uname -m) in
  aarch64) architecture=arm64 ;;
  *) architecture=amd64 ;;
esac
printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/cargo"],"ExposedPorts":{"6379/tcp":{},"8080/tcp":{}}},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
  "$architecture" "$diff_ids" >"$dir/config.json"
config=$(sha256 "$dir/config.json")
upload "$dir/config.json" "$config"

type=application/vnd.docker.distribution.manifest.v2+json
printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%s,"digest":"sha256:%s"},"layers":[%s]}' \
  "$type" "$(stat -c %s "$dir/config.json")" "$config" "$descriptors" >"$dir/manifest.json"
request -o /dev/null -X PUT -H "Content-Type: $type" --data-binary "@$dir/manifest.json" \
  "http://$registry/v2/$name/manifests/$tag"
echo "sha256:$(sha256 "$dir/manifest.json")"
