# SPDX-License-Identifier: Apache-2.0
# make setup   .venv with everything (a second call returns at once)
# make demo    trains, deploys and verifies the digits network; DATA_ROOT=... adds a larger data set
# make test    all that CI runs; PYTEST_ARGS="-m 'not slow and not sweep'" leaves out the slow tests
# make sweep   the exhaustive sweeps over widths, shapes and random networks, which take some hours
# make lint    ruff and mypy
VENV ?= .venv
PY := $(VENV)/bin/python
DATA_ROOT ?= $(ADAQAT_DATA)
DEMO_OUT ?= demo-out
PYTEST_ARGS ?=
# One thread a process: several thread pools on few cores are slower than none.
export OMP_NUM_THREADS ?= 1

.PHONY: setup demo test sweep lint clean

setup:
	@VENV="$(VENV)" bash scripts/setup.sh

demo: setup
	@$(PY) scripts/demo.py -o "$(DEMO_OUT)" $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")

test: setup
	@$(PY) -m pytest -n auto $(PYTEST_ARGS)

sweep: setup
	@$(PY) -m pytest -n auto -m sweep

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m pytest -q tests/test_types.py

clean:
	rm -rf build dist demo-out *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
