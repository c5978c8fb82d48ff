# `make` lists the commands.
PYTHON ?= python3
VENV ?= .venv-dev
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help start dev demo setup test test-quick lint bench screenshots vendor lock clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

start:  ## start the dashboard at http://localhost:5002
	./start_mission_dashboard.sh

dev: setup  ## start the dashboard from the development environment, with debug logs
	MISSION_DASHBOARD_LOG_LEVEL=DEBUG $(PY) src/mission_dashboard/mission_dashboard.py

demo:  ## fill a running dashboard with missions
	$(PYTHON) demo_mission_dashboard.py run

setup: $(STAMP)  ## make the development environment
$(STAMP): requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	$(PY) -m compileall -qq -j 0 $(VENV)/lib || true  # pip does it on one core; some packages hold templates
	touch $(STAMP)

node_modules/.stamp: package-lock.json
	npm ci --silent --no-audit --no-fund
	touch $@

test: setup  ## set up and run everything: linters, types, all tests
	sh scripts/test.sh $(PY)

test-quick: setup  ## the Python tests without browsers and slow ones
	$(PY) -m pytest -q -m "not browser and not slow"

lint: setup node_modules/.stamp  ## mend what can be mended, and tell the rest
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format src tests benchmarks chaos demo_mission_dashboard.py setup.py
	$(PY) -m mypy
	npm run --silent lint
	npm run --silent typecheck

bench: setup  ## measure; figures go to benchmarks/results
	$(PY) -m benchmarks

screenshots: setup  ## draw the page in all its states into docs/screenshots
	$(PY) scripts/screenshots.py

vendor:  ## renew the libraries under static/vendor from npm
	npm ci --silent --no-audit --no-fund
	npm run --silent vendor

lock: setup  ## pin the newest allowed versions
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--python-version 3.10 --extra server pyproject.toml -o requirements.txt
	$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.10 --extra server --extra mcp --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

clean:  ## remove what can be made again; never your data
	rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
