# make demo   a sticker shop, from pictures to served answers, and a page that shows them
# make serve  the same server, left up
# make test   lint, types and all tests

PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo serve test lint format clean

demo: $(INSTALLED)
	$(BIN)/visrec demo --folder build/demo

serve: $(INSTALLED)
	@test -d model_repository/recommender/1 || { echo "no release to serve yet: run 'make demo' first" >&2; exit 1; }
	$(BIN)/visrec serve --repository model_repository

test: lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
		{ echo "visrec needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
