# Thin over scripts/: each target is one script, and each script first checks what it needs.
# Variables of the scripts: CARGO_TARGET_DIR, RUN_ARGS (more words for `ringpost-loadgen run`), BENCH_RUNS, QUICK=1 (benches).

.PHONY: help run build serve test check fmt bench bench-peers compare-postfix torture install-test-needs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: ## build the relay and the load generator, send 100,000 messages of 4 KiB through them, report
	@scripts/run

build: ## build the release binaries
	@scripts/build

serve: ## build the relay and run it on its embedded default (127.0.0.1:2525, queue in ./ringpost-data)
	@scripts/serve

test: ## install what the tests need, then run every test
	@scripts/install-test-needs
	@scripts/test

check: ## what must be clean: format, clippy, tidy, documentation
	@scripts/check

fmt: ## format the sources
	@cargo fmt --all

bench: ## measure the relay on this machine
	@scripts/bench

bench-peers: ## measure the relay and Debian's Postfix on the same work, in turns
	@scripts/install-test-needs
	@scripts/bench-peers

compare-postfix: ## the same configurations and dialogues to Debian's Postfix and to the relay; tell what differs
	@scripts/install-test-needs
	@scripts/compare-postfix

torture: ## kill the relay 50 times under load and count what was lost
	@scripts/torture

install-test-needs: ## only install what the tests need
	@scripts/install-test-needs

clean: ## remove everything that was built
	@cargo clean
