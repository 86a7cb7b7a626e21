#!/bin/bash
# Builds two successive versions of a real image, redis on Debian bookworm, as one OCI layout with the tags
# old and new: "old" from bookworm's main suite alone, "new" with its security and updates suites, as two
# rebuilds of one Dockerfile some weeks apart differ. Packages come from the machine's own apt mirror.
#
#   build.sh           builds what is not built yet; prints one line of JSON: the layout and both versions
#   build.sh --clean   removes everything that was cached
#
# As root: debootstrap, then apt in a chroot, one layer for each step, taken from overlayfs. Otherwise: the
# same packages, unpacked only (no maintainer script runs), good for counting bytes and not for running.
# Cached in .cache/images (STARLIGHT_CACHE: elsewhere) until the recipe changes or --clean.
# The same packages give the same bits: sorted, numeric owners, no time later than a fixed one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
CACHE=${STARLIGHT_CACHE:-$root/.cache}/images

SUITE=bookworm
declare -A EPOCH=([old]=1788220800 [new]=1793491200) # 2026-09-01 and 2026-11-01: no file is younger
PACKAGES='redis-server redis-tools tzdata'

say() { echo "images: $*" >&2; }
# a step's files are made under a temporary name: what is under its own is whole
# shellcheck source=scripts/demo/images/sources.sh
. "$here/sources.sh"
# shellcheck source=scripts/demo/images/pack.sh
. "$here/pack.sh"

if [ "${1:-}" = --clean ]; then
  rm -rf --one-file-system "$CACHE"
  exit
elif [ $# -gt 0 ]; then
  sed -n '2,/^set/p' "$0" | sed 's/^# \{0,1\}//; $d' >&2
  exit 2
fi

if [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null && command -v getfattr >/dev/null; then method=chroot; else method=unpack; fi
# What a step has started ends with the build, also when that is killed: the first process of its own namespace.
if [ $method = chroot ] && [ $$ != 1 ]; then exec unshare --pid --fork --kill-child -- "$0"; fi
trap 'exit 130' INT
trap 'exit 143' TERM
recipe=$(cat "$here"/*.sh "$here/layout.ts" | sha256sum | cut -c1-16)
WORK=$CACHE/$method-$recipe
mkdir -p "$WORK"
exec 9>"$CACHE/lock"
flock 9
if [ ! -e "$WORK/image.json" ]; then
  # what an earlier recipe left
  find "$CACHE" -mindepth 1 -maxdepth 1 -name "$method-*" ! -path "$WORK" -exec rm -rf --one-file-system {} +
  find_mirrors
  # shellcheck source=/dev/null
  . "$here/$method.sh"
  for V in old new; do build_version "$V"; done
  "$root/bin/node" "$here/layout.ts" "$WORK" 9>&- >"$WORK/image.json.tmp"
  mv "$WORK/image.json.tmp" "$WORK/image.json"
  # what only the building needed; the layers are in the layout
  find "$WORK" -mindepth 1 -maxdepth 1 ! -name layout ! -name image.json -exec rm -rf --one-file-system {} +
fi
cat "$WORK/image.json"
