# make demo | serve | test | extras | lint | format | docs | matrix | clients | benchmark
#   CLIENTS="skrl minari"  which of the other libraries `make clients` runs; all without it
#   BESIDE=.venv           installs them together, on top of that environment's packages
#   PYTHON=python3.12     the interpreter the environment is made with
#   PORT=8000             where the leaderboard listens
#   TORCH_INDEX=<url>     an index with a CPU build of torch, if the default build is too large
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
RUN := $(BIN)/python
AGENTS := distributions/safe-envs-agents
INSTALLED := .venv/.installed

PORT ?= 8000
CLIENTS ?=
BESIDE ?=

.PHONY: demo serve test extras lint format docs matrix clients benchmark clean

demo: $(INSTALLED)
	$(RUN) -m leaderboard demo

serve: $(INSTALLED)
	$(RUN) -m leaderboard serve --port $(PORT)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist worksteal

# The tests of what needs packages beyond those of `all`.
extras: $(INSTALLED)
	$(RUN) -m pip install -q -c constraints.txt -e . -e "$(AGENTS)[opt,opf]"
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests/agents/constraint_layers/test_projection.py \
		tests/baselines/experiments/layers/test_power_flow.py

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(INSTALLED)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(INSTALLED)
	$(RUN) docs/generate.py

matrix: $(INSTALLED)
	$(RUN) tests/gymnasium_matrix.py

clients:
	$(PYTHON) tests/clients/run.py $(CLIENTS) $(if $(BESIDE),--beside $(BESIDE))

benchmark: $(INSTALLED)
	$(RUN) -m baselines.benchmarks.environments
	$(RUN) -m baselines.benchmarks.robots_against_gymnasium
	$(RUN) -m baselines.benchmarks.learner_step
	$(RUN) -m baselines.benchmarks.bridged_tasks
	$(RUN) -m baselines.benchmarks.tabular
	$(RUN) -m baselines.benchmarks.projection
	$(RUN) -m baselines.benchmarks.training
	$(RUN) -m baselines.benchmarks.quadrotor
	$(RUN) -m leaderboard.load_benchmark

clean:
	rm -rf .venv .clients runs dist

$(INSTALLED): pyproject.toml $(AGENTS)/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") -e . -e "$(AGENTS)[all]"
	$(RUN) -m pip install --no-deps safety-gymnasium==1.0.0
	touch $(INSTALLED)
