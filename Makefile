# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets. Two of them are all that a newcomer needs: make demo, make test.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SWIFT ?= swift
# Debian's packages (pytest, yaml) are for Debian's interpreter, not for one that a version manager put on PATH.
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
# yes: each target first installs the Debian packages that it needs and checks the machine.
BOOTSTRAP ?= yes
# Lengths. `make test` runs slices of soak and fuzz of about a minute; alone they run for long.
SOAK_GIGABYTES ?= 50
SOAK_MINUTES ?= 30
# Milliseconds that a client of the soak of requests rests between two. In the slice it leaves the machine to what runs beside.
SOAK_REST ?= 0
BODY_MEGABYTES ?= 1024
FUZZ_SECONDS ?= 600
SLICE_GIGABYTES ?= 3
SLICE_SECONDS ?= 60
SLICE_MINUTES ?= 1
# Test targets of values, which may run side by side. The others load programs, make namespaces or wait for times.
VALUE_TESTS := MeshModelTests|MeshManifestsTests|ProxyProtocolTests|IdentityTests|TLSEngineTests|IdentityProvidersTests
VALUE_TESTS := $(VALUE_TESTS)|L7ProxyTests[.](DifferentialTests|PrefixTests|ByteScannerTests|RoundTripTests)

export PYTHON

bootstrap = $(if $(filter yes,$(BOOTSTRAP)),scripts/bootstrap.sh $(1),true)

.PHONY: help build bpf demo test test-unit test-root test-kernel test-values lint-and-values fuzz-slice \
	test-integration test-of-tests bench bench-l7 bench-mtls bench-routes soak soak-bytes \
	soak-l7 soak-bodies fuzz tls kernels lint format presubmit install clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

build: bpf ## build the programs and the tests (debug)
	$(SWIFT) build --build-tests

bpf: ## build the BPF object with the toolchain's own clang
	@$(call bootstrap)
	scripts/build-bpf.sh

demo: ## show the mesh at work on this machine: half a minute, once built (root)
	@$(call bootstrap,--demo)
	@scripts/build-bpf.sh
	@$(SWIFT) build --product mesh-agent
	@$(SWIFT) build --product meshctl
	@$(SWIFT) build --product mesh-proxy
	$(PYTHON) scripts/demo/main.py

test: ## everything: lint, unit and root tests, a minute each of soak and fuzz (root)
	scripts/bootstrap.sh --test
	$(MAKE) BOOTSTRAP=no build
	# The tests of the kernel go one after another, so they leave a core to what needs no quiet.
	$(MAKE) BOOTSTRAP=no --jobs 3 --output-sync=target test-kernel lint-and-values fuzz-slice
	$(MAKE) BOOTSTRAP=no test-integration
	# The soak of bytes takes the whole machine. The one of requests waits for most of its time.
	BUILT=yes $(MAKE) BOOTSTRAP=no soak-bytes SOAK_GIGABYTES=$(SLICE_GIGABYTES)
	BUILT=yes $(MAKE) BOOTSTRAP=no --jobs 2 --output-sync=target test-of-tests soak-l7 SOAK_MINUTES=$(SLICE_MINUTES) SOAK_REST=20

test-unit: bpf ## the Swift tests; without root, those that need it are skipped
	$(SWIFT) test
	$(SWIFT) test --package-path Benchmarks

test-root: build ## all Swift tests and the integration tests; fails, not skips, without root
	$(MAKE) BOOTSTRAP=no test-kernel
	$(MAKE) BOOTSTRAP=no test-values
	$(MAKE) BOOTSTRAP=no test-integration
	$(MAKE) BOOTSTRAP=no test-of-tests

# The parts of the tests. They want what `make build` builds. Not a target: make starts what waits for one after all others.
need_root = @[ "$$(id -u)" -eq 0 ] || { echo "make test: needs root (network namespaces, BPF): run as root" >&2; exit 1; }

test-kernel:
	$(need_root)
	# One after another: these tests look at the whole machine, and two cores are few for time limits.
	MESH_REQUIRE_ROOT=1 $(SWIFT) test --ignore-lock --skip-build --no-parallel --skip '^($(VALUE_TESTS))[./]'

test-values:
	# The lock on the build would make it and test-kernel wait for each other; neither builds.
	MESH_REQUIRE_ROOT=1 nice $(SWIFT) test --ignore-lock --skip-build --filter '^($(VALUE_TESTS))[./]'
	nice $(SWIFT) test --package-path Benchmarks
	# For the soak, which a compiler beside it would hold up.
	nice $(SWIFT) build -c release --package-path Benchmarks --product meshload

# One after the other, as one of the three jobs.
lint-and-values:
	$(MAKE) BOOTSTRAP=no lint
	$(MAKE) BOOTSTRAP=no test-values

fuzz-slice:
	nice scripts/fuzz.sh --seconds $(SLICE_SECONDS)

test-integration:
	$(need_root)
	# Four for two cores: half of them wait for an agent, or for what must not come.
	$(PYTHON) -m pytest Tests/Integration -m "not alone" --numprocesses 4 --dist loadfile
	$(PYTHON) -m pytest Tests/Integration -m alone

test-of-tests:
	$(need_root)
	scripts/test-of-tests.sh

bench: ## measure all, fail if a limit is missed; docs/benchmarks keeps the results (root)
	@$(call bootstrap,--bench)
	scripts/bench.sh --all

bench-l7: ## measure the proxy beside Envoy, HAProxy and nginx, and fail if a limit is missed (root)
	@$(call bootstrap,--bench-l7)
	scripts/bench-l7.sh --check

bench-mtls: ## measure mutual TLS between two nodes beside Envoy and HAProxy, and fail if a limit is missed (root)
	@$(call bootstrap,--bench-l7)
	scripts/bench-mtls.sh --check

bench-routes: ## measure the router alone: time and allocations of a match, 10 and 10 000 routes
	$(SWIFT) run -c release --package-path Benchmarks/Parts routebench

soak: soak-bytes soak-l7 ## checked bytes by the fast path, then checked requests by the proxy: SOAK_GIGABYTES=50, SOAK_MINUTES=30 (root)

soak-bytes: ## move checksummed traffic through the fast path: SOAK_GIGABYTES=50 (root)
	@$(call bootstrap,--bench)
	scripts/soak.sh --gigabytes $(SOAK_GIGABYTES)

soak-l7: ## checked requests while routes, policies, endpoints and backends change: SOAK_MINUTES=30 (root)
	@$(call bootstrap,--bench)
	scripts/soak.sh --l7 --minutes $(SOAK_MINUTES) --rest $(SOAK_REST)

soak-bodies: build ## bodies of a gigabyte through the proxy, each way, between all protocols: BODY_MEGABYTES=1024 (root)
	$(PYTHON) -m pytest Tests/Integration/test_http2.py -rP -k large_bodies --body-megabytes $(BODY_MEGABYTES)

fuzz: ## feed mutated messages of every protocol to the parsers, FUZZ_SECONDS=600 to each
	@$(call bootstrap)
	scripts/fuzz.sh --each $(FUZZ_SECONDS)

# A minute, and a package that nothing else needs: not a part of `make test`, whose tests look at the same port in seconds.
tls: ## testssl.sh and a fuzzer at the port of tunnels; fails if it speaks anything but TLS 1.3 with a client's certificate (root)
	@$(call bootstrap,--tls)
	scripts/tls.sh

kernels: ## what of the product works on Debian's kernels 6.1 and 6.12, in virtual machines (root)
	@$(call bootstrap,--kernels)
	@scripts/build-bpf.sh
	@$(SWIFT) build --product mesh-agent
	@$(SWIFT) build --product meshctl
	@$(SWIFT) build --product mesh-proxy
	$(PYTHON) scripts/kernels/main.py

lint: ## format, length, licence lines, layering; offline and without root
	scripts/lint.sh
	scripts/check-layering.sh

format: ## rewrite the sources in the project's format
	git ls-files --cached --others --exclude-standard '*.swift' | xargs $(SWIFT) format --in-place --parallel --configuration .swift-format
	@if command -v clang-format >/dev/null; then git ls-files 'bpf/*.[ch]' | xargs -r clang-format -i; \
	else echo "clang-format is not installed: bpf/ is left as it is"; fi

presubmit: lint build test-unit ## what a change must pass before review; offline and without root

install: bpf ## install a release build under PREFIX=/usr/local
	$(SWIFT) build -c release --product mesh-agent
	$(SWIFT) build -c release --product mesh-proxy
	$(SWIFT) build -c release --product meshctl
	PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install.sh

clean: ## remove what was built
	rm -rf .build Benchmarks/.build Benchmarks/Parts/.build Fuzz/.build
