# Two commands matter: `make up` and `make test`. Both bring what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := setup
.DELETE_ON_ERROR:

# uv lives in a virtual environment of its own; its version and hashes are pinned beside it.
UV := .uv/bin/uv
PY := .venv/bin/python
PYTHON ?= $(shell command -v /usr/bin/python3 || command -v python3)
# Certificates come from the system's store, so that a private mirror's CA is honoured.
export UV_NATIVE_TLS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Tests wait more than they compute, so workers may be more than processors. Fewer than four make the slow part longer:
# it has two stacks of containers, other containers, and the rest.
WORKERS ?= 4
PYTEST := $(PY) -m pytest --numprocesses $(WORKERS) --durations 20

SERVICES := $(patsubst %/pyproject.toml,%,$(wildcard services/*/pyproject.toml))
# What real LXC guests need on this machine; without root they are only named.
DEBIAN_PACKAGES := lxc lxcfs mmdebstrap uidmap zstd openssh-server openssh-client iproute2 e2fsprogs kmod gpgv \
	util-linux mount procps hostname iptables ipset conntrack nftables

# Programs that judge what is rendered for guests: tests run them here, and set-up starts no service of theirs.
JUDGES := nginx redis-server redis-tools haproxy slapd sudo postgresql systemd \
	tesseract-ocr tesseract-ocr-deu unpaper espeak-ng chromium libnss3-tools

.PHONY: help setup up down test test-fast test-slow soak lint lock bench dev-auth dev-backend clean

help: setup ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.uv/.ready: .ci/uv.requirements
	@if [ "$$(id -u)" = 0 ] && ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; fi
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "python3-venv is missing: install it (apt install python3-venv) and try again" >&2; exit 1; }
	$(PYTHON) -m venv --clear .uv
	.uv/bin/pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

.venv/.ready: .uv/.ready requirements.lock pyproject.toml $(SERVICES:%=%/pyproject.toml)
	@[ -x $(PY) ] || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable . $(SERVICES:%=--editable %)
	@touch $@

.uv/.debian: Makefile .ci/install-debian-packages | .uv/.ready
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then .ci/install-debian-packages $(DEBIAN_PACKAGES) && touch $@; \
		else echo "not root, so nothing is installed: real containers need $(DEBIAN_PACKAGES)"; fi

.uv/.judges: Makefile .ci/install-debian-packages | .uv/.ready
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then .ci/install-debian-packages $(JUDGES) && touch $@; \
		else echo "not root, so nothing is installed: tests of configuration need $(JUDGES)"; fi

setup: .venv/.ready .uv/.debian ## The virtual environment .venv and, as root, the Debian packages of the lab

up: setup ## Start the lab and bring the whole stack up in it
	.venv/bin/zentoria lab up
	.venv/bin/zentoria --site lab up --yes

down: setup ## Stop the lab; its containers and data stay
	.venv/bin/zentoria lab down

test: lint test-fast test-slow ## All checks and all tests, fast ones first

test-fast: setup .uv/.judges ## The tests that need neither LXC nor patience
	$(PYTEST) -m "not lxc and not slow and not soak" --dist worksteal

# Tests that share a lab are a group, which one worker runs in order (see tests/conftest.py). A line for each test: one
# that hangs can be named.
test-slow: setup .uv/.judges ## The others: real containers, whole runs with faults
	$(PYTEST) -m "(lxc or slow) and not soak" --dist loadgroup --verbose

# Each kind of test that `make test` has a sample of, whole; property tests with many examples, other ones each time.
soak: setup .uv/.judges ## Many more of what `make test` samples: kill moments, spoilt input, faults (more than half an hour)
	$(PYTEST) -m "soak or hypothesis" --hypothesis-profile soak --timeout 3600 --dist loadgroup --verbose

lint: setup ## Format, style, types, layers, fresh locks
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) .ci/check_locks.py $(UV)

lock: setup ## Resolve the dependencies anew and write the requirements.lock files
	$(PY) .ci/check_locks.py $(UV) --write

bench: setup ## Measure round trips, API calls, wall time and memory
	$(PY) -m tests.bench

# A service alone, with PostgreSQL, Redis and S3 of its own and an account that works at once: see services/dev.py.
dev-auth: setup .uv/.judges ## Sign-in alone on this machine, at http://localhost:9000
	$(PY) services/dev.py auth

dev-backend: setup .uv/.judges ## The API gateway alone on this machine, at http://localhost:4000
	$(PY) services/dev.py backend

clean: ## Remove what `setup` made
	rm -rf .venv .uv tests/bench/ansible/.venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
