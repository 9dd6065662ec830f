# `make demo` and `make test` need Python 3.10 or later, pip and make; everything else is set up here.
PYTHON ?= python3
BIN := .venv/bin
# One process per core, each of one thread; a file's tests share what its fixtures make.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# What depends on how a processor computes: run again as on one with AVX2 alone, unless this is one,
# and as on any other.
NUMERIC := $(PYTEST) -m "not slow" \
	tests/model/layers tests/model/networks tests/model/scoring/test_windows.py tests/model/training/test_trainer.py \
	tests/utils/features tests/utils/metrics
HAS_MORE := $(shell grep -m1 -o avx512f /proc/cpuinfo 2> /dev/null)

.PHONY: demo test test-all numeric numeric-avx2 numeric-default lint clean
demo: .venv/ready
	$(BIN)/python demoTalkNet.py --videoName 001 --videoFolder demo

test: .venv/ready-dev lint
	$(PYTEST) -m "not slow"

test-all: .venv/ready-dev lint
	$(PYTEST)

numeric: $(if $(HAS_MORE),numeric-avx2) numeric-default

numeric-avx2: .venv/ready-dev
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(NUMERIC)

numeric-default: .venv/ready-dev
	ATEN_CPU_CAPABILITY=default $(NUMERIC)

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

# torch comes first, by itself: whichever build of exactly this version the index offers is kept.
.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "expected Python 3.10 or later, found %d.%d; pass PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.txt)"
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-serve.txt requirements-cluster.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
