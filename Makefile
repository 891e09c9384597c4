# mintwarden: everything that a developer or CI runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Go 1.27 comes through the module proxy where the machine's own Go is older;
# runtimesecret wipes registers and stack around the seeds (policy.md).
export GOTOOLCHAIN := auto
export GOEXPERIMENT := runtimesecret
export CGO_ENABLED := 1

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
# From v2.44 on it needs modules that not every proxy has.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.1
# Processes are killed and clocks race here: what fails is run once more, and is named in the summary as a
# failure of the first run. More than three failures are no accident, and are not run again.
RERUN := --rerun-fails=1 --rerun-fails-max-failures=6
# What takes longest begins first, so that no core waits for it at the end.
LONGEST := ./daemon/dev ./policy/sealed ./daemon/operation ./cmd/mintwarden
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
SOFTHSM := $(firstword $(wildcard /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so))

P11KIT := $(wildcard /usr/lib/*/pkcs11/p11-kit-client.so)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# apt installs the Debian packages named, where root may, and says so.
define apt
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing $(1) (apt-get install)"; export DEBIAN_FRONTEND=noninteractive; \
	  apt-get install -y -qq $(1) >/dev/null 2>&1 || { apt-get update -qq >/dev/null && apt-get install -y -qq $(1) >/dev/null; }; \
	else echo "$(1) is missing: run 'apt-get install $(1)' as root, then again" >&2; exit 1; fi
endef

.PHONY: need-softhsm need-p11-kit need-etcdctl need-npm need-prometheus need-systemd need-tpm need-nspawn
need-softhsm:
ifeq ($(SOFTHSM),)
	$(call apt,softhsm2)
endif

# A token that can be killed: tests put it in front of SoftHSM2.
need-p11-kit:
ifeq ($(P11KIT),)
	$(call apt,p11-kit p11-kit-modules)
endif

# Sets up a real etcd cluster with the commands that mintwardend prints.
need-etcdctl:
ifeq ($(shell command -v etcdctl),)
	$(call apt,etcd-client)
endif

# promtool holds the alerts to their cases, and a real Prometheus watches an appliance at work.
need-prometheus:
ifeq ($(shell command -v promtool),)
	$(call apt,prometheus)
endif

# systemd-analyze rates the units, systemd-sysusers makes users where the package is installed.
need-systemd:
ifeq ($(shell command -v systemd-analyze),)
	$(call apt,systemd)
endif

# A TPM in software, and how systemd reaches it.
need-tpm:
ifeq ($(shell command -v swtpm),)
	$(call apt,swtpm libtss2-esys-3.0.2-0 libtss2-rc0 libtss2-mu0 libtss2-tcti-swtpm0)
endif

# Boots a Debian of its own in which the package is installed.
need-nspawn:
ifeq ($(and $(shell command -v systemd-nspawn),$(shell command -v debootstrap)),)
	$(call apt,systemd-container debootstrap)
endif

need-npm:
ifeq ($(shell command -v npm),)
	$(call apt,npm)
endif

.PHONY: build
build: ## bin/mintwardend, bin/mintwarden-seal, bin/mintwarden
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/mintwardend ./cmd/mintwarden-seal ./cmd/mintwarden

# quantum, or evm: the same on go-ethereum's own node, with secp256k1 keys that the token uses itself.
NETWORK := quantum

.PHONY: demo
demo: need-softhsm build ## the main job, start to end, on a fresh appliance; NETWORK=evm: on go-ethereum
	@go build -o bin/demo ./cmd/demo
	@bin/demo --bin bin -- --network $(NETWORK)

.PHONY: run
run: need-softhsm build ## the appliance in ./.dev, until Ctrl-C
	@bin/mintwardend dev --dir .dev

.PHONY: generate
generate: ## code from api/openapi.yaml and the contracts' ABI
	go generate ./...

.PHONY: contracts
contracts: need-npm ## compile the contracts again; fails where they differ from what is checked in
	./chain/qrc20/contracts/build.sh --check

.PHONY: fresh
fresh: contracts ## generated code is what its sources say
	@before=$$(git ls-files -z '*.gen.go' 'chain/qrc20/bindings/*.go' | xargs -0 sha256sum); \
	go generate ./...; \
	after=$$(git ls-files -z '*.gen.go' 'chain/qrc20/bindings/*.go' | xargs -0 sha256sum); \
	if [ "$$before" != "$$after" ]; then echo "generated code was stale; commit what 'make generate' wrote:" >&2; \
	  diff <(echo "$$before") <(echo "$$after") | sed -n 's/^> [0-9a-f]*  /  /p' >&2; exit 1; fi

.PHONY: vet
vet:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed:" $$out >&2; exit 1; fi
	go vet ./...

.PHONY: openapi
openapi: need-npm ## a public linter's view of api/openapi.yaml: no warning
	@./api/lint/lint.sh

.PHONY: lint
lint: openapi ## golangci-lint, pinned, and the API's document
	go run $(GOLANGCI) run ./...

.PHONY: test
test: need-softhsm need-p11-kit need-etcdctl need-prometheus need-systemd need-tpm build fresh vet lint ## all that CI runs
	go tool gotestsum --format pkgname-and-test-fails $(RERUN) --packages '$(LONGEST) ./...' -- -race -timeout 20m

.PHONY: test-long
test-long: test need-nspawn ## the crash matrix, a soak under faults, other tokens, a real geth, attacks a hundred times over and a booted system on top
	MINTWARDEN_LONG=1 go tool gotestsum --format pkgname-and-test-fails -- -timeout 90m ./api/ ./daemon/dev/ ./daemon/operation/ ./daemon/webhook/ ./hsm/ ./policy/... ./systemd/

.PHONY: bench
bench: need-softhsm ## ratios beside their aims, measured in one run (about 14 minutes)
	@go test -run '^$$' -bench . -timeout 30m ./hsm ./policy ./policy/ledger ./policy/sealed ./daemon ./daemon/operation ./daemon/reconciliation ./daemon/webhook ./api ./daemon/dev | awk \
	  '/^Benchmark[^ \t]*[ \t]+[0-9]+[ \t]/ { n = substr($$1, 10); sub(/-[0-9]+$$/, "", n); for (i = 3; i < NF; i += 2) printf "%-32s %14s  %s\n", n, $$i, $$(i+1); fflush(); next } \
	  /^(goos|goarch|PASS|Benchmark)/ { next } { print }'

.PHONY: pictures
pictures: need-softhsm need-prometheus ## the README's pictures of the dashboard, from an appliance under load (about 6 minutes)
	@mkdir -p daemon/metrics/pictures
	MINTWARDEN_PICTURES=$(CURDIR)/daemon/metrics/pictures go test ./daemon/dev -run '^TestPrometheusWatches$$' -count 1 -timeout 20m

.PHONY: vuln
vuln: ## known vulnerabilities (needs the vulnerability database)
	go run $(GOVULNCHECK) ./...

# The package's version: the tag, or the commit's day and name before there is one; the same wherever it is made (how
# short git makes a name depends on how much of the history a checkout has).
DEB_VERSION := $(shell git describe --tags --abbrev=12 --match 'v[0-9]*' 2>/dev/null | sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/' | grep . || \
  TZ=UTC git log -1 --abbrev=12 --format=0.0.0~git%cd.%h --date=format-local:%Y%m%d 2>/dev/null || echo 0.0.0)
# -trimpath leaves the build's directory out of the programs, trimincludes.sh what it does not reach.
DEB_GOFLAGS := -trimpath -buildvcs=false -toolexec=$(CURDIR)/systemd/package/trimincludes.sh
DEB_STAGE := bin/deb

.PHONY: deb
deb: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
deb: export TZ = UTC
deb: export GOMODCACHE = $(shell go env GOMODCACHE)
deb: export VERSION := $(DEB_VERSION)
deb: export STAGE := $(DEB_STAGE)
deb: ## bin/mintwarden_VERSION_amd64.deb, the same bytes from the same commit, and its SBOM
	@rm -rf $(DEB_STAGE) && mkdir -p $(DEB_STAGE)
	go build $(DEB_GOFLAGS) -ldflags '-s -w -X main.version=$(DEB_VERSION)' -o $(DEB_STAGE)/ ./cmd/mintwardend ./cmd/mintwarden-seal ./cmd/mintwarden
	@./systemd/package/build.sh $(NFPM)

.PHONY: clean
clean: ## removes bin and the development appliance
	rm -rf bin .dev .demo
