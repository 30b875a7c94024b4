# Every target sets up what it needs in .venv. The README names the commands for machines without make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: figures test lab bench compare sizes notebooks recordings site slides editions clean
.DELETE_ON_ERROR:

figures: $(VENV)/.base  ## regenerate the figures of the paper, training included
	$(BIN)/sst figures --out output

test: $(VENV)/.test  ## ruff, unit tests, and the notebooks run top to bottom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -rs -p no:nbval tests
	$(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=900 --nbval-kernel-startup-timeout=120 notebooks

lab: $(VENV)/.base  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(VENV)/.bench  ## measure speed against other libraries, and print the README's table
	$(BIN)/python -m tests.benchmarks

COMPARED := --losses sst triplet contrastive MultiSimilarityLoss ProxyAnchorLoss --proxy-lr 3

compare: $(VENV)/.bench  ## train loss x sampler x seeds on three data sets, and write tables and figures
	$(BIN)/sst study digits $(COMPARED) --epochs 6
	$(BIN)/sst study fashion $(COMPARED) --epochs 8 --images 100 --batch-size 50 --download
	$(BIN)/sst study glyphs $(COMPARED) --epochs 8 --images 12 --batch-size 60

sizes: $(VENV)/.base  ## train on batches of several sizes, for lecture 09
	$(BIN)/python -m tests.benchmarks.sizes

notebooks: $(VENV)/.test  ## run the notebooks in place, as they are committed
	$(BIN)/python tests/run_notebooks.py

recordings: $(VENV)/.base  ## make what the notebooks replay: trained networks, runs, maps
	$(BIN)/python -m sstutils.lectures.recording

site slides: $(VENV)/.base  ## pages, or slides, of the notebooks in site/: self-contained, no network, no kernel
	$(BIN)/python -m sstutils.lectures.editions $@

editions: $(VENV)/.base  ## all of site/: pages, slides, and notebooks for students and for lecturers
	$(BIN)/python -m sstutils.lectures.editions all

clean:  ## remove the environment and what it built; figures stay
	rm -rf $(VENV) build site *.egg-info output/checkpoints output/screenshots .pytest_cache .hypothesis .ruff_cache
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
