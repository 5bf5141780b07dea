# `make demo` and `make test` set up everything they need: uv, .venv, the dependencies.

UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync

.PHONY: demo test lint setup plots table1 clean

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
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/ready  ## style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

plots: .venv/ready  ## dvc_plots/index.html, without network
	$(RUN) dvc plots show

# Rows of Table 1 and two baselines: name, then what differs from the profile in force.
DSN_L1 := train_dsn.learn_theta=false train_dsn.learn_sigma=false
TABLE1 := "bicubic train_srn.lr_from=bicubic" \
	"mean-only train_srn.theta=none" \
	"row1 $(DSN_L1) train_srn.theta=none" \
	"row2 $(DSN_L1) train_srn.theta=constant train_srn.constant_theta=1.0" \
	"row3 train_dsn.learn_sigma=false train_srn.theta=raw" \
	"row4 train_srn.theta=raw train_srn.adversarial_on=pixels" \
	"row5 train_srn.theta=raw"

table1: .venv/ready  ## queue the rows of the paper's Table 1; then: dvc queue start, dvc exp show
	@for row in $(TABLE1); do set -- $$row; name=$$1; shift; \
		$(RUN) dvc exp run --queue --name table1-$$name $$(printf -- '-S %s ' "$$@") || exit 1; done
	@echo "run them: dvc queue start; look: dvc queue status, dvc exp show"

setup: .venv/ready  ## environment only

.venv/ready: pyproject.toml | $(UV)
	$(UV) sync --quiet --compile-bytecode
	$(RUN) usrdu plots-page .dvc/plots_page.html
	$(RUN) dvc config --quiet --local plots.html_template plots_page.html
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv

clean:  ## everything the stages wrote
	rm -rf data/demo data/prepare data/train_dsn data/export data/calibrate data/audit data/train_srn data/evaluate
	rm -rf data/work data/raw/demo dvc_plots
