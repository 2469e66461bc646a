# make demo   a real photograph, filtered on this machine
# make test   lint, types and tests
# make test-torch, make test-jax   the tests that need PyTorch or JAX, which they install
# make docs   the documentation site, in English and Chinese; every figure is made anew, which takes minutes
# All set up .venv by themselves, once; they need Python 3.11 or newer (say PYTHON=python3.12 to choose one).

PYTHON ?= python3
KERNEL ?= sobel
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-torch test-jax docs clean

demo: .venv/.show
	@mkdir -p demo
	@cp "$$($(BIN)/python -c 'import matplotlib; print(matplotlib.get_data_path())')/sample_data/grace_hopper.jpg" demo/photo.jpg
	$(BIN)/juanji filter demo/photo.jpg --kernel $(KERNEL) --plan -o demo/$(KERNEL).png
	@echo "the photograph is demo/photo.jpg, the result demo/$(KERNEL).png; another kernel: make demo KERNEL=emboss"

test: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

test-torch: .venv/.torch
	$(BIN)/python -m pytest -n auto -m torch tests

test-jax: .venv/.jax
	$(BIN)/python -m pytest -n auto -m jax tests/test_peers.py

docs: .venv/.docs
	$(BIN)/python docs/build.py

clean:
	rm -rf .venv demo build/docs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("juanji needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

# The stamps are newer than pyproject.toml once its dependencies are installed.
.venv/.show: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[show]'
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/.show

.venv/.torch: pyproject.toml .venv/.dev | $(BIN)/python
	$(PIP) --editable '.[torch]'
	@touch $@

.venv/.jax: pyproject.toml .venv/.dev | $(BIN)/python
	$(PIP) --editable '.[jax]'
	@touch $@

.venv/.docs: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[docs]'
	@touch $@ .venv/.show
