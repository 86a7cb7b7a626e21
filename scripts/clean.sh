#!/bin/bash
# Removes what can be made again: the demo's images and packages, coverage, node_modules.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/demo/images/build.sh --clean
rm -rf coverage .starlight node_modules
