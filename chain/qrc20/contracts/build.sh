#!/bin/sh
# Installs what package-lock.json pins, then compiles: see build.mjs for the arguments.
set -eu
cd "$(dirname "$0")"
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
exec node build.mjs "$@"
