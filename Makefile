# Two commands do everything on a bare Debian or Ubuntu machine: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
# uv installs in seconds what takes pip minutes; it is told to trust and to look where pip does.
# It compiles only when asked, and a Python that may not write bytecode would compile at every start:
# torch, Prefect and geopandas take 10 s then, and every flow is a process of its own.
UV := UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true VIRTUAL_ENV=$(CURDIR)/$(VENV) UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(VENV)/bin/uv

.PHONY: help demo test lint system system-dev clean

help:
	@echo "make demo   install what is missing, then map a real disaster from end to end"
	@echo "make test   install what is missing, then run the linters and every test"
	@echo "make lint   ruff, mypy, the layer rule and a search for undeclared imports alone"

demo: $(VENV)/.installed
	$(VENV)/bin/scarp demo

test: $(VENV)/.installed-dev lint
	$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .

system:
	@PYTHON=$(PYTHON) infra/debian.sh postgresql postgresql-postgis python3-venv

# The tests open the console in a browser.
system-dev: system
	@infra/debian.sh chromium

$(VENV)/bin/uv: | system
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Scarp needs Python 3.11 or newer: set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv

$(VENV)/.installed: pyproject.toml constraints.txt | system $(VENV)/bin/uv
	$(UV) pip install --quiet --compile-bytecode -c constraints.txt -e .
	$(VENV)/bin/python -m compileall -q console flows tasks models infra
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | system-dev $(VENV)/bin/uv
	$(UV) pip install --quiet --compile-bytecode -c constraints.txt -e '.[dev]'
	$(VENV)/bin/python -m compileall -q console flows tasks models infra
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
