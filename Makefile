# Every target sets up what it needs in .venv. The README names the commands for machines without make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Threads of torch that spin while they wait make a busy machine five times slower.
export GOMP_SPINCOUNT ?= 0

.PHONY: figures readme lint check test test-full lab bench study notebooks recordings site site.zip slides editions clean
.DELETE_ON_ERROR:

figures: $(VENV)/.base  ## regenerate the figures of the paper, training included
	$(BIN)/sst figures --out output

readme: figures  ## draw the figures again that the README and the lectures show
	$(BIN)/sst figures --out output/readme --checkpoint output/checkpoints/glyphs.pt

UNIT := $(BIN)/pytest -p no:nbval
# One thread for each kernel, two kernels at once: on a busy machine threads wait for each other.
NBVAL := OMP_NUM_THREADS=1 $(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=900 --nbval-kernel-startup-timeout=120
METHOD := house checks geometry losses sampling evaluation models training datasets glyphs

lint: $(VENV)/.test  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint  ## the method in less than 90 seconds: ruff, its tests, one short training, notebook 00
	$(UNIT) -x -n 2 --dist loadfile -m "not slow" $(METHOD:%=tests/test_%.py)
	$(NBVAL) notebooks/00-*.ipynb

test: lint  ## all that protects a user, in about 10 minutes on two cores: unit and browser tests, all notebooks
	$(UNIT) -rs -n 2 --dist loadfile -m "not slow" tests
	$(NBVAL) -n 2 --dist loadfile notebooks

test-full: lint  ## before a release: kills by the dozen, every seed, every look of a widget
	$(UNIT) -rs -n 2 --dist loadfile tests
	$(NBVAL) -n 2 --dist loadfile notebooks

lab: $(VENV)/.base  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(VENV)/.bench  ## measure speed against other libraries, as in output/benchmarks.md
	$(BIN)/python -m tests.benchmarks

study: $(VENV)/.bench  ## tune, train and compare losses and samplers on Omniglot and Glyphs; it takes a night, and continues
	$(BIN)/python -m sstutils.study.comparison omniglot --download
	$(BIN)/python -m sstutils.study.comparison glyphs

notebooks: $(VENV)/.test  ## run the notebooks in place, as they are committed
	$(BIN)/python tests/run_notebooks.py

recordings: $(VENV)/.base  ## make what the notebooks replay: trained networks, runs, maps
	$(BIN)/python -m sstutils.lectures

site slides: $(VENV)/.base  ## pages, or slides, of the notebooks in site/: self-contained, no network, no kernel
	$(BIN)/python -m sstutils.lectures.editions $@

editions: $(VENV)/.base  ## pages, slides and students' notebooks in site/, the lecturer's, with solutions, in site-lecturer/
	$(BIN)/python -m sstutils.lectures.editions all $(if $(ADDRESS),--address $(ADDRESS))

site.zip: editions  ## site/ as one file, to be unpacked and opened without Python
	cd site && ../$(BIN)/python -m zipfile -c ../$@ *

clean:  ## remove the environment and what it built; figures stay
	rm -rf $(VENV) build site site-lecturer site.zip *.egg-info output/checkpoints output/screenshots .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A file in .venv tells which of the dependencies in pyproject.toml are installed.
$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77.0.3"
	touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --editable .
	touch $@

$(VENV)/.test $(VENV)/.bench: $(VENV)/.%: $(VENV)/.base
	$(BIN)/python -m pip install --editable ".[$*]"
	touch $@
