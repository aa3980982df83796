# Every target prepares .venv with what it needs (scripts/bootstrap.py); a second time that costs nothing.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help environment run test parts lint audit bench soak image-test clean

# Where it is set, each of some hundred processes compiles its modules again: a fifth of what the tests cost.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
LOCAL ?= 1
V ?=
ARGS ?=

ifeq ($(LOCAL),0)
RUN_EXTRAS := embedded
else
RUN_EXTRAS := embedded,local
endif
ALL_EXTRAS := bench,dev,embedded,local,quality,test,traces

BOOTSTRAP = @command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 to 3.13 (sudo apt-get install python3 python3-venv)." >&2; exit 1; }; \
	exec $(PYTHON) scripts/bootstrap.py

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

environment: ## make .venv with everything in it
	$(BOOTSTRAP) $(ALL_EXTRAS)

run: ## run Vocero here (LOCAL=0: without voice and ears; V=1: show the logs)
	$(BOOTSTRAP) $(RUN_EXTRAS) -m scripts.run $(if $(V),--verbose)

test: ## run every test, after getting what they need (ARGS=...: for pytest)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m scripts.run_tests $(ARGS)

parts: ## get what the tests need besides Python packages (make test does so too)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m scripts.parts_of_tests

lint: ## check style, types and the layers
	$(BOOTSTRAP) $(ALL_EXTRAS) -m scripts.lint

audit: ## ask for known weaknesses in the image's packages (ARGS=--strict: of a release)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m scripts.audit $(ARGS)

bench: ## measure what the service adds (ARGS=...)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m benchmarks $(ARGS)

image-test: ## build the image and run all of Compose under podman (ARGS=...; root, a quarter of an hour)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m scripts.image_test $(ARGS)

soak: ## all of Autobahn, ten million frames, thousands of broken talks (ARGS=...)
	$(BOOTSTRAP) $(ALL_EXTRAS) -m soak $(ARGS)

clean: ## remove .venv, caches and .vocero (the embedded database and the development API key with it)
	rm -rf .venv .vocero build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf tests/browser/javascript/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
