# Everything here calls npm scripts or scripts/; see scripts/README.md. The demo is called without npm, which does not
# pass a signal on: make does, and waits until the demo has cleaned up.
.PHONY: help demo test check clean
.DEFAULT_GOAL := help

help: ## says what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: ## shows Starlight on a real image over an emulated WAN (as root; without, bytes only)
	@scripts/setup.sh
	@scripts/demo/run

test: ## runs every test, with real servers; installs what is missing first
	@scripts/test.sh

check: ## format, lint, types and the fast tests
	@scripts/setup.sh --npm-only
	@npm run -s check

clean: ## removes what the demo cached and node_modules
	@scripts/clean.sh
