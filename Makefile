# Espace. Needs Python >= 3.11 and nothing else installed.
#
#   make up      everything on this machine, with the demonstration   (ARGS='--empty --tls --port-base 8500 …')
#   make test    every test, with real servers and a real browser     (ARGS='tests/journeys -x')
#   make check   formatting, lint, types, import contracts
#   make bench   paired measurements                                  (ARGS='…')
#   make lock    recompile requirements/ from pyproject.toml

PYTHON ?=
ARGS ?=
BIN := .venv/bin
# One file stays on one worker: its databases are its own.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

.PHONY: up test check bench lock environment test-environment

up: environment
	@exec $(BIN)/espace up $(ARGS)

test: test-environment
	@.ci/browser
	@exec $(PYTEST) $(ARGS)

check: test-environment
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache

bench: test-environment
	@exec $(BIN)/python -m bench $(ARGS)

lock:
	uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra embedded --extra build --output-file requirements/run.txt
	uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra embedded --extra pkcs11 --extra build --extra dev --constraint requirements/run.txt --output-file requirements/test.txt
	uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra pkcs11 --extra build --constraint requirements/run.txt --output-file requirements/deploy.txt

environment:
	@PYTHON='$(PYTHON)' .ci/environment run

test-environment:
	@PYTHON='$(PYTHON)' .ci/environment test
