#!/bin/bash
# trimincludes.sh TOOL ARGUMENT...: runs a tool of Go's for "go build -toolexec"; cmd/asm is also told to trim the module
# cache's path, for -trimpath has go build name only the directory of the package that it builds, and assembler that
# #includes a file of another package (as gnark-crypto's does) would leave that file's full path in the program.
# ${GOMODCACHE} is the path. What it assembles is another object than go build's own: the version that keys the build
# cache says so.
set -euo pipefail
tool=$1
shift
if [ "${tool##*/}" != asm ]; then exec "$tool" "$@"; fi
if [ "$*" = -V=full ]; then
	version=$("$tool" -V=full)
	echo "$version includes-trimmed"
	exit
fi
arguments=("$@")
for i in "${!arguments[@]}"; do
	if [ "${arguments[i]}" = -trimpath ]; then arguments[i + 1]+=";${GOMODCACHE:?}=>"; fi
done
exec "$tool" "${arguments[@]}"
