# The book's commands. `make help` lists them.

PYTHON ?= python3
# The build of torch: auto (what fits this machine: the CPU's where there is no graphics processor),
# cpu, cu130 ... as uv names them, or default (what pip takes; on Linux several gigabytes of CUDA).
TORCH ?= auto
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
SERVER := tests/.jupyter
INSTALL := python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help book test repeat serve pdf release exercises bench lock clean FORCE

help:
	@echo "make book    execute the chapters that changed, check the claims, make the site"
	@echo "make test    all of that, then all tests"
	@echo "make repeat  run chapters again, here and on an emulated device, and note what repeats"
	@echo "make serve   show the book at a local address"
	@echo "make pdf     print the whole book into one PDF (needs Chromium)"
	@echo "make release  make what an archive needs: site, PDF, notebooks, ledger, package, source"
	@echo "make exercises  run the exercises that are to be run"
	@echo "make bench   measure ncbook against other ways to compute the same"
	@echo "make lock    renew requirements.txt from the ranges in pyproject.toml"
	@echo "make clean   remove what the build made, and the environment"
	@echo "PYTHON=...   the Python, 3.11 to 3.13, that the environment is made with"
	@echo "TORCH=cpu    the build of torch: auto (default), cpu, cu130 ..., or default, which is pip's"
	@echo "More, such as one chapter with other parameters: $(PY) -m ncbook --help"

book: $(INSTALLED)
	@$(PY) -m ncbook build

# nbval runs the cells of executed chapters again, which must give the same outputs.
NBVAL := --numprocesses auto --dist loadfile --no-loadscope-reorder \
	--nbval --nbval-current-env --nbval-sanitize-with tests/nbval-sanitize.cfg

# One pytest, so that there is one summary line: the tests, then the executed chapters, but for what is
# long and known to repeat: see tests/nbval_chapters.py. Two programs that some tests need are
# installed apart: axe-core, and a Jupyter server, which would slow the book's own environment.
test: book
	@if ! command -v npm >/dev/null; then \
		echo "npm is not installed: the accessibility test will be skipped."; \
	elif ! npm install --prefix tests --no-audit --no-fund --silent; then \
		echo "npm could not fetch axe-core: the accessibility test will be skipped."; fi
	@if [ ! -f $(SERVER)/installed ] || [ tests/jupyter.txt -nt $(SERVER)/installed ]; then \
		$(PYTHON) -m venv --clear $(SERVER) && $(SERVER)/bin/$(INSTALL) -r tests/jupyter.txt \
			&& touch $(SERVER)/installed \
		|| echo "No Jupyter server could be installed: the test with one will be skipped."; fi
	@$(PY) -m pytest tests book $(NBVAL) $(PYTEST)

# What need not run each time: the executed chapters, and the tests with the mark "repeats". pytest ends
# with 5 where nothing is left to run.
REPEATED = tests/test_chapters_on_devices.py tests/pipeline/test_pipeline_exercises.py
repeat: book
	@NCBOOK_REPEAT=1 $(PY) -m pytest $(REPEATED) book $(NBVAL) $(PYTEST) || [ $$? -eq 5 ]

serve: $(INSTALLED)
	@$(PY) -m ncbook serve

pdf: book
	@$(PY) -m ncbook pdf

release: $(INSTALLED)
	@$(PY) -m ncbook release

exercises: $(INSTALLED)
	@$(PY) -m ncbook exercises

bench: $(INSTALLED)
	@$(PY) -m bench

clean:
	@if $(PY) -c 'import ncbook.build' 2>/dev/null; then $(PY) -m ncbook clean --all; \
	else echo "There is no whole environment here: _build/ is left as it is."; fi
	@rm -rf $(VENV) $(SERVER) tests/node_modules

# uv knows where torch's own builds are, and which one fits; it is not there, pip takes its default.
# A torch that somebody has put into the environment stays.
LOCKED = $$(grep -i '^$(1)==' requirements.txt)
define TAKE_TORCH
if [ "$(TORCH)" != default ] && [ "$$(uname -s)" = Linux ] \
	&& ! $(PY) -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then \
	$(VENV)/bin/$(INSTALL) "$(call LOCKED,uv)" \
	&& UV_HTTP_RETRIES=1 $(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps \
		--torch-backend=$(TORCH) "$(call LOCKED,torch)" 2>/dev/null \
	|| echo "torch's own builds cannot be reached from here: pip takes its default."; fi
endef

# The environment. An install that was interrupted leaves $(VENV)/installing behind and is done
# again from the start; an environment that somebody prepared is completed. One that was made
# where the project lay before is made anew.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "The book needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is none. Name one that is:"; \
		echo "  make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@if [ -e $(VENV)/installing ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "Making the environment $(VENV) ..."; \
		$(PYTHON) -m venv --clear $(VENV) || { \
			echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv"; exit 1; }; \
	fi
	@rm -f $@ && touch $(VENV)/installing
	@echo "Installing the packages of requirements.txt (minutes, the first time) ..."
	@$(TAKE_TORCH)
	@$(VENV)/bin/$(INSTALL) -r requirements.txt
	@$(VENV)/bin/$(INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/installing && echo "$(CURDIR)" > $@

ifneq ($(wildcard $(INSTALLED)),)
ifneq ($(shell cat $(INSTALLED)),$(CURDIR))
$(shell touch $(VENV)/installing)
$(INSTALLED): FORCE
endif
endif

# What pip chooses today for the ranges in pyproject.toml, in a fresh environment. Left out: local
# versions (+cpu), which name a build; and what only torch for CUDA brings, which other systems
# cannot install, and which pip adds by itself where torch needs it.
RANGES = import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	print(*p["build-system"]["requires"], *p["project"]["dependencies"], \
	*sum(p["project"]["optional-dependencies"].values(), []), sep="\n")
LOCK := _build/locking
lock:
	@rm -rf $(LOCK) && mkdir -p $(LOCK) && $(PYTHON) -m venv $(LOCK)/env
	@$(LOCK)/env/bin/python -c '$(RANGES)' > $(LOCK)/ranges.txt
	@$(LOCK)/env/bin/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)/ranges.txt
	@$(LOCK)/env/bin/python -m pip check
	@$(LOCK)/env/bin/python -m pip freeze --all --exclude pip > $(LOCK)/frozen.txt
	@sed -e 's/+.*$$//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton==/d' $(LOCK)/frozen.txt \
		> $(LOCK)/requirements.txt
	@for version in 3.11 3.12 3.13; do \
		$(LOCK)/env/bin/$(INSTALL) --dry-run --target $(LOCK)/none --only-binary :all: \
			--python-version $$version -r $(LOCK)/requirements.txt \
		|| { echo "What was chosen does not install on Python $$version."; exit 1; }; done
	@mv $(LOCK)/requirements.txt requirements.txt && rm -rf $(LOCK)
	@echo "requirements.txt is new; make test tells whether the book stands with it."
