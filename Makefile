# `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
comma := ,
.SHELLFLAGS := -euo pipefail -c

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build the operator and the demo.
	cargo build --bin membership-operator --example demo

.PHONY: demo
demo: build ## Start a control plane, the simulated providers and the operator, demonstrate each guarantee, stop everything.
	@target/debug/examples/demo

.PHONY: playground
playground: build ## Start the same environment and keep it running until Ctrl-C; prints the KUBECONFIG to use.
	@target/debug/examples/demo --stay

.PHONY: test
test: ## Run all tests, including those on a real control plane.
	@tests/run.sh

.PHONY: test-faults
test-faults: ## Run the tests of the behaviour on failures, row by row (tests/faults/rows.yaml, docs/faults.md).
	@cargo run --quiet -p control-plane -- build
	@cargo run --quiet -p faults

.PHONY: soak
soak: ## Run the long tests: replicas killed for SOAK_SECONDS=60, a flood of FLOOD=5000 objects, PROPTEST_CASES=20000 per property.
	@SOAK_SECONDS=$(or $(SOAK_SECONDS),60) cargo test --test operator replicas::churn -- --nocapture
	@cargo build --release --bin membership-operator
	@FLOOD=$(or $(FLOOD),5000) OPERATOR_BINARY=$(CURDIR)/target/release/membership-operator cargo test --test operator attacks::flood -- --nocapture
	@PROPTEST_CASES=$(or $(PROPTEST_CASES),20000) cargo test --test parsers
	@PROPTEST_CASES=$(or $(PROPTEST_CASES),20000) cargo test --test infisical_client --test zitadel_client garbled

.PHONY: bench
bench: ## Measure what the operator costs (N=1000, DELAY=20, ONLY=row,row, PAIRS=3, CHECK=1; SWEEP=1000,10000 for growth): docs/performance.md.
	@cargo run --quiet -p control-plane -- build >/dev/null
	@cargo build --release --bin membership-operator
	@cargo build --release -p bench
ifdef SWEEP
	@for n in $(subst $(comma), ,$(SWEEP)); do \
		N=$$n target/release/bench run --operator target/release/membership-operator --output target/bench-$$n.json; \
	done
	@target/release/bench growth $(if $(CHECK),--check) $(foreach n,$(subst $(comma), ,$(SWEEP)),target/bench-$(n).json)
else
	@target/release/bench run --operator target/release/membership-operator
endif

.PHONY: simulate
simulate: ## Simulate the operator with random seeds (SEEDS=, SECONDS=, FIRST=), or repeat one seed with its trace (SEED=).
	@SEED='$(SEED)' SEEDS='$(SEEDS)' SECONDS='$(SECONDS)' FIRST='$(FIRST)' cargo run --quiet $(if $(SEED),,--release) -p simulation

.PHONY: histories
histories: ## Run seeded histories of one target against the decision function (HISTORIES=200000, SEED=), or repeat one with its trace (HISTORY=).
	@HISTORIES='$(or $(HISTORIES),200000)' PROPTEST_RNG_SEED='$(or $(SEED),$(shell date +%s))' HISTORY='$(HISTORY)' \
		CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=3 cargo test --quiet --release --test laws histories::histories -- --nocapture \
		| awk '/^histories: [0-9]/ { last = $$0; next } /^history / || /histories a second/ { print } END { print last }'

.PHONY: churn
churn: ## Create and delete many objects with their projects and provider URLs (CHURN=100000, half an hour); nothing may be remembered of them.
	@CHURN='$(or $(CHURN),100000)' CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=3 \
		cargo test --quiet --release -p simulation --test churn

.PHONY: test-contracts
test-contracts: ## Replay the recorded exchanges of real servers against the clients and the simulator (CONTRACTS=folder: other recordings).
	@cargo run --quiet -p recordings -- $(if $(CONTRACTS),"$(CONTRACTS)")

# The variables that `make verify-provider` passes on: VARIABLE becomes --variable. Those of the second list are lists of
# words, and each word becomes an option of its own.
VERIFY := PROVIDER URL PROJECT_ID PROJECT_NAME GRANT_ID ORGANIZATION_ID SUBJECT_KIND ROLE OTHER_ROLE TEMPORARY \
	CLIENT_ID_FILE CLIENT_SECRET_FILE TOKEN_FILE KEY_FILE IDENTITY_ID KUBERNETES_TOKEN_FILE OIDC_TOKEN_FILE \
	CA_FILE INSTANCE_HOST ORGANIZATION_SLUG
VERIFY_EACH := SUBJECT_ID SUBJECT_NAME ALLOW_HTTP ALLOW_ADDRESS
option = --$(shell echo '$(1)' | tr A-Z_ a-z-)=
quoted = '$(subst ','\'',$(1))'
verify_options = $(foreach name,$(VERIFY),$(if $($(name)),$(call option,$(name))$(call quoted,$($(name))))) \
	$(foreach name,$(VERIFY_EACH),$(foreach word,$($(name)),$(call option,$(name))$(call quoted,$(word)))) \
	$(if $(filter yes,$(INVITE_USERS)),--invite-users) \
	$(if $(filter yes,$(YES_CHANGE_THIS_PROJECT)),--yes-change-this-project)

.PHONY: verify-provider
verify-provider: ## Check the operator against a real server: PROVIDER=, URL=, … and YES_CHANGE_THIS_PROJECT=yes (docs/verify-provider.md).
	@cargo build --quiet --bin membership-operator
	@target/debug/membership-operator verify-provider $(verify_options)

.PHONY: check
check: fmt-check clippy deny generated ## Check the format, lints, dependencies and generated files.

.PHONY: fmt-check
fmt-check: ## Check that the code is formatted.
	cargo fmt --all --check

.PHONY: clippy
clippy: ## Run the lints; warnings are errors.
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: deny
deny: ## Check that the dependencies, their licences and their sources are allowed (needs cargo-deny).
	cargo deny check bans licenses sources

.PHONY: generate
generate: ## Generate crds/ from src/api/.
	cargo run --quiet --bin membership-operator -- crds --directory crds

.PHONY: generated
generated: generate ## Check that crds/ matches src/api/.
	@git diff --exit-code -- crds || { echo 'crds/ is stale: commit what `make generate` wrote'; exit 1; }
	@test -z "$$(git status --porcelain -- crds)" || { git status --short -- crds; exit 1; }
