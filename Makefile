# make study [PROFILE=quick]   the notebooks of the study, as far as their inputs have changed
# make test                    style, clean notebooks, tests
# make lab                     the notebooks in JupyterLab
# make strip                   take outputs out of the notebooks, before a commit
# make lock                    renew requirements.lock from pyproject.toml
# Each makes .venv itself where it is missing or older than what it is made from.

PYTHON ?= python3
PROFILE ?= quick
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
CHECK_PYTHON = @$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
STRIP := .venv/bin/nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill"

.PHONY: study test lab strip lock
.DELETE_ON_ERROR:

study: .venv/.made
	.venv/bin/cdlib study --profile $(PROFILE)

test: .venv/.made
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(if $(NOTEBOOKS),$(STRIP) --verify $(NOTEBOOKS))
	.venv/bin/pytest

lab: .venv/.made
	.venv/bin/jupyter lab notebooks

strip: .venv/.made
	$(if $(NOTEBOOKS),$(STRIP) $(NOTEBOOKS))

.venv/.made: requirements.lock pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

# The packages that torch asks for on Linux alone get a marker, so that the file serves macOS too.
lock:
	$(CHECK_PYTHON)
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --editable '.[dev]' && \
	{ \
	  echo '# Every package of the environment, exactly; `make lock` renews it from pyproject.toml.' && \
	  "$$folder/bin/python" -m pip freeze --exclude-editable --exclude setuptools --exclude wheel | \
	    sed -E '/^(nvidia|cuda|triton)/ s/$$/ ; platform_system == "Linux"/'; \
	} > requirements.lock.tmp && mv requirements.lock.tmp requirements.lock
