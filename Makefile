# The book's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help book test serve bench lock clean FORCE

help:
	@echo "make book    execute the chapters that changed, check the claims, make the site"
	@echo "make test    all of that, then all tests"
	@echo "make serve   show the book at a local address"
	@echo "make bench   measure ncbook against other ways to compute the same"
	@echo "make lock    renew requirements.txt from the ranges in pyproject.toml"
	@echo "make clean   remove what the build made, and the environment"
	@echo "PYTHON=...   the Python 3.11 or newer that the environment is made with"
	@echo "More, such as one chapter with other parameters: $(PY) -m ncbook --help"

book: $(INSTALLED)
	@$(PY) -m ncbook build

# One pytest, so that there is one summary line: the tests, then every executed chapter, whose
# cells run again and must give the same outputs.
test: book
	@if [ ! -f tests/package.json ]; then :; \
	elif ! command -v npm >/dev/null; then \
		echo "npm is not installed: the accessibility test will be skipped."; \
	elif ! npm install --prefix tests --no-audit --no-fund --silent; then \
		echo "npm could not fetch axe-core: the accessibility test will be skipped."; fi
	@$(PY) -m pytest tests book --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval-sanitize.cfg $(PYTEST)

serve: $(INSTALLED)
	@$(PY) -m ncbook serve

bench: $(INSTALLED)
	@$(PY) -m bench

clean:
	@if [ -x $(PY) ]; then $(PY) -m ncbook clean --all; fi
	@rm -rf $(VENV) tests/node_modules

# The environment. An install that was interrupted leaves $(VENV)/installing behind and is done
# again from the start; an environment that somebody prepared is completed. One that was made
# where the project lay before is made anew.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "The book needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one that is:"; \
		echo "  make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@if [ -e $(VENV)/installing ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "Making the environment $(VENV) ..."; \
		$(PYTHON) -m venv --clear $(VENV) || { \
			echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv"; exit 1; }; \
	fi
	@rm -f $@ && touch $(VENV)/installing
	@echo "Installing the packages of requirements.txt (minutes, the first time) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
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
	@mv $(LOCK)/requirements.txt requirements.txt && rm -rf $(LOCK)
	@echo "requirements.txt is new; make test tells whether the book stands with it."
