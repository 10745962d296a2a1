# The whole developer interface. `make quickstart` and `make test` do all the set-up on a fresh machine with Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
BENCH := runs/bench
AIRPORT := data/airport
SITE := runs/site
.DEFAULT_GOAL := help

.PHONY: help install quickstart test test-lowest test-newest coverage check format docs release-check bench attack clean

help:
	@echo "make quickstart   install, then train, evaluate, export, compress and report a detector on the toy set (about 5 minutes)"
	@echo "make test         install, then run all tests"
	@echo "make attack       damage files, kill commands and aim outputs at files, for MINUTES=10, by SEED=20"
	@echo "make check        format, lint, types, import layers"
	@echo "make docs         build the documentation site in $(SITE)/html; broken links and missing explanations fail it"
	@echo "make coverage     run all tests, and show which lines no test runs"
	@echo "make test-lowest  run the tests with the oldest libraries that pyproject.toml lets in; test-newest: the newest"
	@echo "make release-check  version, changelog, packages, and a try of the built wheel"
	@echo "make bench        measure speeds (seven minutes); results go to benchmarks/results"

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "multibox needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(VENV)/.installed

quickstart: install
	rm -rf $(RUN)
	$(BIN)/multibox train $(AIRPORT) --minutes 4 --size 384 --name quickstart
	$(BIN)/multibox eval quickstart --save-output-to $(RUN)/output_images
	$(BIN)/multibox export quickstart
	$(BIN)/multibox eval $(RUN)/export
	$(BIN)/multibox compress quickstart --method ptq
	$(BIN)/multibox export $(RUN)/compressed
	$(BIN)/python tools/compare_exports.py $(RUN)/export $(RUN)/export_int8
	$(BIN)/multibox report quickstart
	@echo "Open $(RUN)/report.html, and look at the images in $(RUN)/output_images"

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

# In environments of their own, below runs.
test-lowest test-newest: test-%:
	$(PYTHON) -m venv runs/venv-$*
	runs/venv-$*/bin/python -m pip install --quiet --upgrade pip
	$(PYTHON) -m tools.lowest_versions > runs/lowest.txt
	runs/venv-$*/bin/python -m pip install --quiet $(if $(filter lowest,$*),-c runs/lowest.txt) -e ".[dev]"
	runs/venv-$*/bin/python -m pytest -n 2 --dist worksteal

# Processes that tests start count too; see [tool.coverage] in pyproject.toml.
coverage: install
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/ruff check --select D1 --ignore D105,D107 src
	$(BIN)/python -m tools.site $(SITE)
	cd $(SITE) && "$(CURDIR)/$(BIN)/zensical" build --strict -f mkdocs.yml
	@echo "Open $(SITE)/html/index.html; to search as well: $(BIN)/python -m http.server -d $(SITE)/html"

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

release-check: install
	$(BIN)/python -m tools.release_check $(if $(MODEL),--model $(MODEL))

bench: install
	$(BIN)/python benchmarks/speeds.py --data $(AIRPORT) --work $(BENCH)

attack: install
	$(BIN)/python -m tests.attack --minutes $(or $(MINUTES),10) --seed $(or $(SEED),20)

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
