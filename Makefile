.DEFAULT_GOAL := help
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claude-nats
CLI_VERSION := 2.1.197
NODE_NATS_VERSION := 2.29.3
ARCH := $(patsubst x86_64,x64,$(patsubst aarch64,arm64,$(shell uname -m)))
PEERS := $(CACHE)/peers-$(shell cat bench/peers/requirements.txt bench/peers/package.json | cksum | cut -d ' ' -f 1)
NPM := npm install --silent --no-audit --no-fund --no-save --ignore-scripts

export CLAUDE_CLI ?= $(CACHE)/claude-code-$(CLI_VERSION)/node_modules/@anthropic-ai/claude-code-linux-$(ARCH)/claude
export NODE_NATS ?= $(CACHE)/node-nats-$(NODE_NATS_VERSION)
PYTHON := .venv/bin/python

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## three prompts through two responders, answers and traces in the terminal (LIVE=1: the real API)
	@$(PYTHON) -m examples.demo

test: setup $(NODE_NATS)/installed ## all tests, with a real nats-server and the real CLI against a stub API
	@$(PYTHON) -m pytest

check: lint types model test ## lint, types, the model and tests

lint: setup ## ruff: rules and formatting
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

types: setup ## mypy, strict
	@$(PYTHON) -m mypy && $(PYTHON) -m mypy docs/model/check

model: ## every state of the attended exchange's model, whose mutants must fail (docs/model)
	@CACHE=$(CACHE) docs/model/check

schema: setup ## write docs/schema from the models
	@$(PYTHON) -m contract.schema docs/schema

bench: setup ## measure the hop side by side with the bare spawn, and each of its layers; and a plot
	@$(PYTHON) -m bench --plot hop.svg

bench-cli: setup $(CLAUDE_CLI) ## cold CLIs beside those that stand ready, with the real CLI
	@CLAUDE_CLI=$(CLAUDE_CLI) $(PYTHON) -m bench.modes

bench-soak: setup $(CLAUDE_CLI) ## what stays behind of many requests with the real CLI (CALLS=200: fewer; NOOP=1: of a command that does nothing)
	@CLAUDE_CLI=$(CLAUDE_CLI) $(PYTHON) -m bench.soak $(if $(CALLS),--calls $(CALLS)) $(if $(NOOP),--noop)

bench-routing: setup ## the fleet's routing beside one ideal queue, and a plot (QUICK=1: does it work?; PART=join: one of its parts)
	@$(PYTHON) -m bench.routing $(if $(QUICK),--quick) $(foreach name,$(PART),--part $(name)) --plot routing.svg --json routing.json

bench-peers: setup $(PEERS)/installed ## what else could be used, beside ours (QUICK=1: does it work?; ONLY=celery: one of them; CLI=1: with the real CLI)
	@$(PYTHON) -m bench.peers --packages $(PEERS) $(if $(CLI),--cli $(CLAUDE_CLI)) $(if $(QUICK),--quick) $(foreach name,$(ONLY),--only $(name)) --json peers.json

chaos: setup ## every fault for real, under load, with a report (SHORT=1: in two minutes; CASE=kill: one of them)
	@$(PYTHON) -m chaos $(if $(SHORT),--short) $(foreach name,$(CASE),--case $(name))

up: ## NATS and two responders in containers
	@docker compose up --build --detach --wait --scale responder=2

setup: .venv/installed $(CLAUDE_CLI) ## the virtual environment and the pinned CLI (both done by the others)

clean: ## remove what the other targets made in this folder
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

.venv/installed: pyproject.toml constraints.txt
	@python3 -m venv .venv
	@$(PYTHON) -m pip install --quiet --constraint constraints.txt pip
	@$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[responder,otlp,embedded]' --group dev
	@touch $@

$(CLAUDE_CLI):
	@$(NPM) --prefix $(CACHE)/claude-code-$(CLI_VERSION) @anthropic-ai/claude-code@$(CLI_VERSION)
	@test -x $@

$(NODE_NATS)/installed:
	@$(NPM) --prefix $(NODE_NATS) nats@$(NODE_NATS_VERSION)
	@touch $@

$(PEERS)/installed: | setup
	@$(PYTHON) -m bench.peers.install $(PEERS)

.PHONY: help demo test check lint types model schema bench bench-cli bench-peers bench-routing bench-soak chaos up setup clean
