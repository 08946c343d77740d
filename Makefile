# Two commands: `make run` and `make test`. Both install what they need first, into .venv.
PYTHON ?= python3
PROFILE ?= ci
JOBS ?= 2
MARKS ?= not slow
CONSTRAINTS ?= -c constraints.txt
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread a process: two notebooks side by side with two threads each are seven times slower.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

# A mirror of the real data sets beside the checkout is used where there is one; CONTRASTIVE_NB_DATA= does without it.
ifeq ($(origin CONTRASTIVE_NB_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export CONTRASTIVE_NB_DATA := $(abspath ../shared/data)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow types lab edit site front lock hooks clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install the pinned set

run: $(STAMP)  ## run all notebooks (PROFILE=ci, laptop or gpu) and print the effects
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m contrastive_nb run --profile $(PROFILE) --jobs $(JOBS) $(ARGS)

test: $(STAMP)  ## run the tests but the slow ones (ARGS="tests/test_site.py" for some)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "$(MARKS)" $(ARGS)

test-slow: MARKS := slow
test-slow: test  ## run the slow tests alone

types: $(STAMP)  ## check types: nothing new beside tests/mypy-baseline.txt, and nothing mended left in it
	$(BIN)/python -m mypy | $(BIN)/python -m mypy_baseline filter

lab: $(STAMP)  ## open JupyterLab on a scratch copy of the book, build/lab, which keeps what you do there
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m contrastive_nb lab $(ARGS)

edit: $(STAMP)  ## open JupyterLab on the source itself
	$(BIN)/jupyter trust nbs/*.ipynb nbs/*/*.ipynb > /dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab nbs/index.ipynb $(ARGS)

site: $(STAMP) front  ## build the website in _site from the notebooks as they are committed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m contrastive_nb.book.site $(ARGS)

front:  ## copy README.md into the website's front page, list new pages in its sidebar
	$(PYTHON) nbs/_front.py

lock:  ## remake requirements.lock with uv (WHEELS="FILE ...": CPU builds of torch whose hashes it shall have)
	$(PYTHON) .ci/lock $(WHEELS)

hooks:  ## keep notebooks and package in step at every commit, show and merge notebooks cell by cell
	@PATH="$(CURDIR)/$(BIN):$$PATH" command -v git-nbdiffdriver >/dev/null || { echo 'nbdime is missing: make install' >&2; exit 1; }
	git config core.hooksPath .githooks
	git config diff.jupyternotebook.command 'PATH="$$PWD/$(BIN):$$PATH" git-nbdiffdriver diff'
	git config merge.jupyternotebook.name 'notebooks, cell by cell'
	git config merge.jupyternotebook.driver 'PATH="$$PWD/$(BIN):$$PATH" git-nbmergedriver merge %O %A %B %L %P'

clean:  ## remove what runs and tests wrote (not .venv, not the scratch copy build/lab)
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name lab -exec rm -rf {} +
	rm -rf dist _proc _docs _site .pytest_cache .ruff_cache .hypothesis .mypy_cache
	find contrastive_nb nbs tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: install one and say "make $(MAKECMDGOALS) PYTHON=python3.12"' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]" $(CONSTRAINTS)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps lightly lightly-utils $(CONSTRAINTS)
	@touch $@
