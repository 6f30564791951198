# Each target sets up what it needs in .venv. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# Options of `make sim`. An empty one keeps the program's default.
NET       ?= all
N         ?=
SIM       ?= verilator
IMAGES    ?=
WAVES     ?=
SCHEDULER ?=
SLOW      ?=
PYTEST    ?=

# Data of one's own. Not from the environment, where others may use such names.
DATA    :=
LABELS  :=
CLASSES :=
LAYOUT  :=

# Option of `make formal` and `make mutate`.
MODULE ?=

# Options of the targets for boards.
BOARD  ?=
DEVICE ?=
CYCLES ?=
CLOCK  ?=

OPTIONS := NET N SIM IMAGES DATA LABELS CLASSES LAYOUT WAVES SCHEDULER SLOW PYTEST MODULE BOARD DEVICE CYCLES CLOCK

# Passed as arguments only: simulators and cocotb must not see them in the environment.
unexport $(OPTIONS) MAKEFLAGS

# A misspelt variable would be ignored. These are read from the environment, too.
KNOWN   := $(OPTIONS) SEED PYTHON VENV MNIST_ROOT MNIST_DOWNLOAD MLPERF_TINY
UNKNOWN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(filter-out $(KNOWN),$(name))))
ifneq ($(strip $(UNKNOWN)),)
$(error unknown variable $(firstword $(UNKNOWN))=; expected one of $(KNOWN))
endif

# $(call quoted,TEXT): as one word of the shell. $(call option,--flag,NAME): if NAME is not empty.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(2)),$(1) $(call quoted,$($(2))))
data   = $(call option,--images,IMAGES) $(call option,--data,DATA) $(call option,--labels,LABELS) \
    $(call option,--classes,CLASSES) $(call option,--layout,LAYOUT)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
	    printf '  make %-12s %s\n' "$$target" "$$text"; \
	done
	@printf '%s\n' '' \
	    'Options of sim: NET=name|all (all)  N=images (1000)  SIM=verilator|icarus' \
	    '  WAVES=1  SCHEDULER=tcp://host:port (a Dask cluster), and your own data:' \
	    '  DATA=IDX, .npy, .npz, pictures, class folders  LABELS=file  CLASSES=names.txt  LAYOUT=nhwc' \
	    'Options of compare: NET  N  SLOW=images for the slow NumPy (50), and your own data' \
	    'Options of report: NET=name, and your own data' \
	    'Options of bitstream and board-sim: NET=name  BOARD=ulx3s|icebreaker|orangecrab' \
	    '  DEVICE=25f|45f|85f  CYCLES=per image  CLOCK=MHz; of prog: NET  BOARD' \
	    'Options of sim-netlist: NET  BOARD  N, and your own data' \
	    'Options of test: PYTEST="-k conv2d -x"  SEED; of fuzz: N=networks (500)  SEED' \
	    'Options of mutate: MODULE=name  N=mutants per module (40)  SEED=1,2; of formal: MODULE'

.PHONY: sim
sim: $(VENV)/.stamp-sim $(if $(filter icarus,$(SIM)),icarus) ## stream images through the RTL and compare every logit
	@$(PY) -m convstream sim --net $(call quoted,$(NET)) --sim $(call quoted,$(SIM)) $(call option,--n,N) \
	    $(data) $(if $(filter-out 0,$(WAVES)),--waves) \
	    $(call option,--scheduler,SCHEDULER)

.PHONY: test
test: plain $(VENV)/.stamp-test icarus ## run the tests; the slow ones: PYTEST="-m slow"
	@$(PY) -m pytest tb -n auto --dist worksteal -m "not slow" $(PYTEST)

.PHONY: fuzz
fuzz: $(VENV)/.stamp-test icarus ## check random networks end to end; a failure becomes a test
	@$(PY) tb/fuzz.py $(call option,--n,N) $(call option,--seed,SEED)

.PHONY: formal
formal: $(VENV)/.stamp-formal ## prove modules for all time; each proof must fail on a planted bug
	@$(PY) -m tb.formal.run $(MODULE)

.PHONY: mutate
mutate: plain $(VENV)/.stamp-test icarus ## plant faults in each module; its own bench must find them
	@$(PY) tb/mutate.py $(call option,--module,MODULE) $(call option,--n,N) \
	    $(call option,--seed,SEED)

.PHONY: coverage
coverage: plain $(VENV)/.stamp-test icarus ## run the tests and report their coverage of Verilog and Python
	@$(PY) tb/cover.py $(PYTEST)

.PHONY: lint
lint: lint-python lint-verilog ## ruff, mypy, and Verilator -Wall on every module alone

.PHONY: lint-python
lint-python: $(VENV)/.stamp-test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(PY) -m mypy

.PHONY: lint-verilog
lint-verilog: $(VENV)/.stamp-test
	@$(PY) tb/lint.py

.PHONY: bench
bench: $(VENV)/.stamp-sim ## measure every network at many foldings
	@$(PY) -m convstream bench --net $(call quoted,$(NET))

.PHONY: compare
compare: $(VENV)/.stamp-test ## race NumPy, PyTorch, ONNX Runtime and the RTL on the same images
	@$(PY) -m convstream compare --net $(call quoted,$(NET)) $(call option,--n,N) \
	    $(call option,--slow,SLOW) $(data)

.PHONY: report
report: $(VENV)/.stamp-sim ## write one HTML page about a network, to send to a colleague
	@$(PY) -m convstream report $(call quoted,$(NET)) $(data)

.PHONY: figures
figures: $(VENV)/.stamp-test ## put the figures of the latest runs into README and docs
	@$(PY) -m scripts.figures

.PHONY: docs
docs: $(VENV)/.stamp-docs ## build the docs site into build/docs; a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@printf '%s\n' 'build/docs; to read it: $(PY) -m http.server -d build/docs'

.PHONY: bitstream
bitstream: $(VENV)/.stamp-fpga ## build a bitstream of a network for a board, with open tools
	@$(PY) -m convstream build --net $(call quoted,$(NET)) --board $(call quoted,$(BOARD)) $(call option,--device,DEVICE) \
	    $(call option,--cycles,CYCLES) $(call option,--clock,CLOCK)

.PHONY: prog
prog: $(VENV)/.stamp-fpga ## load that bitstream into the board
	@$(PY) -m convstream build --net $(call quoted,$(NET)) --board $(call quoted,$(BOARD)) --prog

.PHONY: board-sim
board-sim: $(VENV)/.stamp-fpga ## simulate a board that the host program can talk to
	@$(PY) -m convstream board-sim --net $(call quoted,$(NET)) --board $(call quoted,$(BOARD)) $(call option,--device,DEVICE) \
	    $(call option,--cycles,CYCLES) $(call option,--clock,CLOCK)

.PHONY: sim-netlist
sim-netlist: $(VENV)/.stamp-fpga ## simulate the synthesised netlist of a network for a board
	@$(PY) -m convstream netlist --net $(call quoted,$(NET)) --board $(call quoted,$(BOARD)) $(call option,--n,N) \
	    $(call option,--device,DEVICE) $(call option,--cycles,CYCLES) $(data)

.PHONY: worker
worker: $(VENV)/.stamp-sim ## serve the Dask cluster at SCHEDULER with this machine's cores
	@$(VENV)/bin/dask worker $(call quoted,$(SCHEDULER)) --nworkers auto --nthreads 1

.PHONY: clean
clean: ## remove all build results, but not .venv
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Environments. A stamp newer than pyproject.toml says that its packages are installed.
$(VENV)/.stamp-sim: pyproject.toml scripts/setup.sh
	@scripts/setup.sh '$(PYTHON)' $(VENV) .
	@touch $@

$(VENV)/.stamp-fpga: $(VENV)/.stamp-sim
	@scripts/setup.sh '$(PYTHON)' $(VENV) '.[fpga]'
	@touch $@

$(VENV)/.stamp-formal: $(VENV)/.stamp-sim
	@scripts/setup.sh '$(PYTHON)' $(VENV) '.[formal]'
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-sim
	@scripts/setup.sh '$(PYTHON)' $(VENV) '.[docs]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-sim
	@scripts/setup.sh '$(PYTHON)' $(VENV) '.[test]'
	@touch $@

# cocotb-test builds in the checkout, and make takes no path with spaces.
.PHONY: plain
plain:
	@case $$PWD in *[[:space:]]*) echo "error: $$PWD: the tests need a checkout without spaces in \
	its path; move it" >&2; exit 2;; esac

.PHONY: icarus
icarus:
	@scripts/icarus.sh
