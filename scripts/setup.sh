#!/bin/bash
# Installs what the demo and the tests need and this machine lacks: npm packages into node_modules/, and, as
# root on Debian or Ubuntu, packages by apt. Starts no service, stops none, changes nothing that is there.
# Works twice; the second time takes about a second.
#
#   scripts/setup.sh               everything
#   scripts/setup.sh --npm-only    node_modules/ alone (needs no root)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup/debian.sh
. scripts/setup/debian.sh
# shellcheck source=scripts/setup/npm.sh
. scripts/setup/npm.sh

say() { echo "setup: $*" >&2; }

case ${1:-} in
  '') setup_debian; setup_npm ;;
  --npm-only) setup_npm ;;
  *) sed -n '2,/^set/p' "$0" | sed 's/^# \{0,1\}//; $d' >&2; exit 2 ;;
esac
