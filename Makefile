# Everything a developer or a new user runs. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
TESTS_AT_ONCE ?= 2
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@echo "compiling the kernels, once"
	@$(BIN)/python -c "from gradwire_common.warming import warm_kernels; warm_kernels()"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[zipnn]' || echo "ZipNN wants a C compiler: left out"
	@touch $@

demo: $(VENV)/.installed  ## train on real images, 2 workers at 2 bits an entry, beside float32
	$(BIN)/gradwire train --config examples/demo.toml --compare

test: $(VENV)/.installed-test lint  ## lint, type-check and run every test that takes seconds
	$(BIN)/pytest -m "not long" --numprocesses $(TESTS_AT_ONCE) --dist loadfile

test-frameworks: $(VENV)/.installed-test  ## run Lightning, Trainer, accelerate and the notebook, which it installs
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test,frameworks]'
	$(BIN)/pytest tests/frameworks tests/users/test_examples.py tests/users/test_torchmetrics.py

test-launchers: $(VENV)/.installed-test  ## two workers by torchrun, submitit and Ray, which it installs
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test,slurm,ray]'
	$(BIN)/pytest tests/cli/test_launch.py

walk-machines: $(VENV)/.installed  ## docs/deploy.md's three bare machines in network namespaces; wants root
	PATH="$(abspath $(BIN)):$$PATH" tests/deploy/three_machines.sh

test-long: $(VENV)/.installed-test  ## the tests that take minutes
	$(BIN)/pytest -m long --timeout 3600

wheel: $(VENV)/.installed  ## dist/gradwire-VERSION-py3-none-any.whl, which pip installs on any machine
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

lint: $(VENV)/.installed-test  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test  ## format the code and mend what lint can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

stubs: $(VENV)/.installed-test  ## write the stubs of proto/ again
	$(BIN)/python -m grpc_tools.protoc -Igradwire_common/v1=proto --python_out=common --pyi_out=common \
		--grpc_python_out=common gradwire_common/v1/parameter_server.proto

bench-codec: $(VENV)/.installed-bench  ## measure the codec beside others; ARGS="--entries 1000000 --json FILE"
	$(BIN)/python benchmarks/bench_codec.py $(ARGS)

bench-methods: $(VENV)/.installed  ## bits of the published methods' updates, theirs and ours; ARGS="--exchanges N --json FILE"
	$(BIN)/python benchmarks/method_bits.py $(ARGS)

bench-link: $(VENV)/.installed-bench  ## measure limits and budgets at the socket; ARGS="--quick --data DIR --json FILE"
	$(BIN)/python benchmarks/bench_link.py $(ARGS)

bench-load: $(VENV)/.installed  ## measure one server under up to 1,000 workers; ARGS="--workers 10 1000 --json FILE --plot FILE"
	$(BIN)/python benchmarks/bench_load.py $(ARGS)

$(VENV)-flower/.installed:
	$(PYTHON) -m venv $(VENV)-flower
	$(VENV)-flower/bin/pip install --quiet flwr==1.27.0
	@touch $@

bench-join: $(VENV)/.installed  ## measure what joining costs; ARGS="--rate '20 Mbit/s' --json FILE"
	$(BIN)/python benchmarks/bench_join.py $(ARGS)

bench-hosts: $(VENV)/.installed  ## rounds beside DDP's on hosts with lines of their own; root and iproute2; ARGS="--links RATE ..."
	$(BIN)/python benchmarks/bench_hosts.py $(ARGS)

bench-round: $(VENV)/.installed-bench $(VENV)-flower/.installed  ## measure rounds beside Flower's; ARGS="--quick --json FILE"
	$(BIN)/python benchmarks/bench_round.py --flower $(VENV)-flower/bin/python $(ARGS)

study-one-bit: $(VENV)/.installed  ## accuracy of ResNet-20 at 1 bit beside float32, 3 seeds; DATA=CIFAR-10
	$(BIN)/python benchmarks/study_accuracy.py benchmarks/studies/cifar10_one_bit.toml $(if $(DATA),--data $(DATA)) $(ARGS)

study-low-bits: $(VENV)/.installed  ## accuracy at 0.2 bits up, 0.5 down, and with local steps; DATA=CIFAR-10
	$(BIN)/python benchmarks/study_accuracy.py benchmarks/studies/cifar10_low_bits.toml $(if $(DATA),--data $(DATA)) $(ARGS)

study-attacks: $(VENV)/.installed  ## accuracy where 2 of 8 workers lie, by aggregation; ARGS="--seeds N --rounds N --json FILE"
	$(BIN)/python benchmarks/study_attacks.py $(ARGS)

study-frontier: $(VENV)/.installed  ## loss against bytes, of many methods; ARGS="--full --data CIFAR-10 --cores N"; resumes
	$(BIN)/gradwire study frontier --out docs/studies $(ARGS)

fuzz: $(VENV)/.installed  ## damage frames for an hour, or ARGS="--seconds S --frames N --seed N"
	$(BIN)/python benchmarks/fuzz_codec.py $(ARGS)

fuzz-rpc: $(VENV)/.installed-test  ## any message to any call beside an honest run; ARGS="--calls N --seed N"
	PYTHONPATH=tests $(BIN)/python -m safety.fuzz_rpc $(ARGS)

$(VENV)-audit/.installed:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit==2.10.1
	@touch $@

audit: $(VENV)-audit/.installed  ## look the dependencies up in PyPI's database of vulnerabilities
	@if $(VENV)-audit/bin/python -c "import urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/19.0/json', timeout=20)" 2>/dev/null; \
	then $(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt; \
	else echo "PyPI's database of vulnerabilities cannot be reached from here: nothing was audited"; fi

compose-test:  ## kill, stop, resume and scale docker-compose.yml on a Docker engine; skips where there is none
	$(PYTHON) tests/compose/scenarios.py $(ARGS)

chaos: $(VENV)/.installed-test  ## kill, cut and starve runs at random; ARGS="--server N --worker N --link N ... --json FILE"
	PYTHONPATH=tests $(BIN)/python tests/end_to_end/chaos.py $(ARGS)

clean:  ## remove what the other targets made, the runs excepted
	rm -rf $(VENV) $(VENV)-flower .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
