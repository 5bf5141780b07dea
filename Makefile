# `make demo` and `make test` set up everything they need: uv, .venv, the dependencies.

UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync

.PHONY: demo test lint setup plots clean

demo: .venv/ready  ## the whole pipeline on the demo camera
	$(RUN) dvc repro
	@$(RUN) dvc metrics show
	@echo
	@echo "pictures:  data/train_dsn/contact_sheet.png"
	@ls data/train_srn/*/contact_sheet.png data/evaluate/*/side_by_side.png | sed 's/^/           /'
	@echo "audit:     data/audit/page/index.html"
	@echo "metrics:   data/*/metrics.json, data/*/*/metrics.json (also: dvc metrics show)"
	@echo "models:    data/train_srn/*/srn.safetensors (open in chaiNNer or ComfyUI, or: usrdu upscale)"

test: .venv/ready  ## all tests
	$(RUN) pytest

lint: .venv/ready  ## style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

plots: .venv/ready  ## dvc_plots/index.html, without network
	$(RUN) dvc plots show

setup: .venv/ready  ## environment only

.venv/ready: pyproject.toml | $(UV)
	$(UV) sync --quiet
	$(RUN) usrdu plots-page .dvc/plots_page.html
	$(RUN) dvc config --quiet --local plots.html_template plots_page.html
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv

clean:  ## everything the stages wrote
	rm -rf data/demo data/prepare data/train_dsn data/export data/calibrate data/audit data/train_srn data/evaluate
	rm -rf data/work data/raw/demo dvc_plots
