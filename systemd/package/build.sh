#!/bin/bash
# build.sh NFPM: makes the Debian package of the programs in $STAGE, into the directory above it, with version
# $VERSION and all times $SOURCE_DATE_EPOCH. The Makefile calls it in the repository's root.
set -euo pipefail
nfpm=$1
: "${STAGE:?}" "${VERSION:?}" "${SOURCE_DATE_EPOCH:?}"
umask 022
export LC_ALL=C TZ=UTC
for shell in bash zsh fish; do "$STAGE/mintwarden" completion $shell >"$STAGE/mintwarden.$shell"; done
"$STAGE/mintwarden" docs man "$STAGE/man"
gzip -9n "$STAGE"/man/*.1
"$STAGE/mintwardend" completion bash >"$STAGE/mintwardend.bash"
go run ./systemd/internal/sbom "$VERSION" "$STAGE/mintwarden" "$STAGE/mintwarden-seal" "$STAGE/mintwardend" >"$STAGE/sbom.cdx.json"
# The pages for people lie in one directory there, which is how their links lead from one to another.
mkdir -p "$STAGE/doc"
for page in \
	README.md \
	systemd/installing.md \
	daemon/config/configuration.md \
	daemon/operating.md \
	daemon/metrics/guide.md \
	daemon/metrics/metrics.md \
	chain/chains.md \
	api/webhooks.md \
	daemon/audit/receipts.md \
	daemon/callback/qustody.md; do
	sed -E 's,\]\((\.\./)*([a-z]+/)*([A-Za-z]+\.md)(#[a-z0-9-]+)?\),](\3\4),g' "$page" >"$STAGE/doc/${page##*/}"
done
out=$(dirname "$STAGE")/mintwarden_${VERSION}_amd64
cp "$STAGE/sbom.cdx.json" "$out.cdx.json"
# Files keep no time of their own: what a checkout or a build gave them is no part of the commit.
if [ -x "$nfpm" ]; then run=("$nfpm"); else run=(env CGO_ENABLED=0 GOEXPERIMENT= go run "$nfpm"); fi
"${run[@]}" package --config systemd/package/nfpm.yaml --packager deb --target "$out.deb" >&2
echo "$out.deb"
