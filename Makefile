# Set-up happens by itself: every target depends on .venv, which is made once and again when the pins change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint bench docs messages dist clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("onset needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; run: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[lm,dev,docs]'
	touch $(READY)

demo: $(READY)
	$(BIN)/onset demo --out out/demo

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: lint
	$(BIN)/pytest -n 2

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The catalogues of messages: take up what the sources say now, and make what is read at run time. Texts that are new
# are empty until someone translates them in onset.po; a test tells of them.
LANGUAGE := src/onset/language
messages: $(READY)
	cd src/onset && ../../$(BIN)/pybabel -q extract -F language/babel.cfg -k noted -k plural:1,2 -k forms:1,2 -k within \
		--no-location --sort-output -w 120 -o ../../out/onset.pot .
	$(BIN)/pybabel -q update -D onset -i out/onset.pot -d $(LANGUAGE) --no-fuzzy-matching --ignore-obsolete -w 120
	$(BIN)/pybabel -q compile -D onset -d $(LANGUAGE)

# Source distribution and wheel, as they would be uploaded; twine reads their metadata and the README as the index would.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m pip install -q -c constraints.txt build twine
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf out build dist
